"""One trial's answers, judged as they come: in full, or as far as the next look.

Owns what a trial's outcome is made of. A fault of an objective is the trial's outcome, not its
engine's fault. Knows nothing of engines.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from traceback import format_exception

from objectives import targets
from objectives.types import Completion, Evaluation, ItemResult, Objective, Request, Split
from objectives.words import counted
from search.common.masking import masked
from search.merging.recipe import Recipe
from search.records.items import pack_items
from search.records.record import Stopped
from search.study.outcome import TrialOutcome
from search.study.race import Threshold, look

_log = logging.getLogger(__name__)

ITEMS_LIMIT = 64 * 1024**2
"""Bytes of packed per-item answers that one trial may send to the driver."""


class Judging:
    """The requests of one trial and what became of them.

    Order of calls: `begin`, then `asked` and `answered` in turn with rising shares until there is
    an outcome; `begin` again for another engine.
    """

    def __init__(self, objectives: Sequence[Objective], recipe: Recipe, split: Split) -> None:
        """Make the requests; raises what an objective raises.

        Args:
            objectives: what a merge is scored on.
            recipe: what is merged; it may vary the decoding.
            split: the items that are asked.
        """
        self._objectives, self._split, self._decoding = objectives, split, recipe.decoding
        self._batches = [list(o.requests(split, recipe.decoding)) for o in objectives]
        self._answers: list[list[Completion]] = []

    def begin(self) -> None:
        """Nothing is answered yet."""
        self._answers = [[] for _ in self._batches]

    def asked(self, share: float) -> list[Request]:
        """The requests up to a share of each objective's that were not asked yet.

        Args:
            share: in (0, 1].
        """
        return _part(self._batches, list(map(len, self._answers)), share)

    def answered(
        self, completions: Sequence[Completion], share: float, threshold: Threshold | None
    ) -> TrialOutcome | None:
        """The trial's outcome after these answers; None if more is to be asked.

        Args:
            completions: one for each request of `asked(share)`.
            share: the same.
            threshold: what the trial is held to; None where the share is 1.
        """
        rest = iter(completions)
        for batch, own in zip(self._batches, self._answers, strict=True):
            own += islice(rest, _n(batch, share) - len(own))
        try:
            found = [
                judge.score(self._split, own, self._decoding, first=len(own))
                for judge, own in zip(self._objectives, self._answers, strict=True)
            ]
            if share == 1.0 or threshold is None:
                return self._outcome(found, None)
            pairs = zip(self._objectives, self._batches, strict=True)
            totals = {judge.name: len(batch) for judge, batch in pairs}
            stopped = look(threshold, [item for one in found for item in one.items], totals)
            return None if stopped is None else self._outcome(found, stopped)
        except Exception as error:  # of an objective: another engine would not help
            return scorer_failed(error)

    def _outcome(self, found: Sequence[Evaluation], stopped: Stopped | None) -> TrialOutcome:
        scores = {name: score for evaluation in found for name, score in evaluation.scores.items()}
        answered = [item for evaluation in found for item in evaluation.items]
        scores |= targets.combined(answered)
        items, note = _bounded(answered)
        outcome = TrialOutcome(
            "scored",
            scores=scores,
            tokens=sum(answer.n_tokens for own in self._answers for answer in own),
            note=note,
            items=items,
        )
        if stopped is not None:
            return replace(outcome, state="stopped", reason=_why(stopped), stopped=stopped)
        reasons = [evaluation.infeasible for evaluation in found if evaluation.infeasible]
        undefined = [t.people for t in targets.TARGETS if scores[t.score].value is None]
        if undefined and not reasons:
            reasons = [f"{', '.join(undefined)} is not defined: nothing could be scored"]
        if reasons:
            return replace(outcome, state="infeasible", reason="; ".join(reasons))
        return outcome


def scorer_failed(error: Exception) -> TrialOutcome:
    """The outcome of a trial that an objective could not ask or score."""
    _log.error("an objective failed: %s", masked("".join(format_exception(error))))
    reason = f"scoring failed: {type(error).__name__}: {masked(str(error))}"
    return TrialOutcome("failed", reason, "scorer")


def in_parts(
    batches: Sequence[Sequence[Request]], shares: Iterable[float]
) -> Iterator[list[Request]]:
    """What an engine is asked together, time after time, in a trial that is not stopped.

    Args:
        batches: the requests of each objective.
        shares: of these, as `Judging.asked` takes them.
    """
    begun = [0] * len(batches)
    for share in shares:
        yield _part(batches, begun, share)
        begun = [_n(batch, share) for batch in batches]


def _part(
    batches: Sequence[Sequence[Request]], begun: Sequence[int], share: float
) -> list[Request]:
    """The requests of each batch from where it was begun up to a share of it."""
    parts = zip(batches, begun, strict=True)
    return [request for batch, start in parts for request in batch[start : _n(batch, share)]]


def _n(batch: Sequence[Request], share: float) -> int:
    """How many of a batch's requests a share of them is, at least one where there are any."""
    return min(len(batch), max(1, round(share * len(batch))))


def _why(stopped: Stopped) -> str:
    what = "be as good as the best so far" if stopped.incumbent else "keep its floor"
    return (
        f"after {stopped.items} of {counted(stopped.total, 'item')} its chance to {what} was "
        f"{stopped.chance:.3f}"
    )


def _bounded(results: Sequence[ItemResult]) -> tuple[bytes, str]:
    """Packed answers of at most `ITEMS_LIMIT`, and what was left out; verdicts always stay."""
    packed = pack_items(results)
    size = f"{len(packed) / 1024**2:.0f} MiB of answers are more than {ITEMS_LIMIT / 1024**2:.0f}"
    note = ""
    if len(packed) > ITEMS_LIMIT:
        results, note = [replace(r, steps=()) for r in results], f"{size}: kept without traces"
        packed = pack_items(results)
    if len(packed) > ITEMS_LIMIT:
        results = [replace(r, prompt="", completion="") for r in results]
        packed, note = pack_items(results), f"{size}: kept without prompts and completions"
    return packed, note
