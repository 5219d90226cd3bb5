"""Whether a study can recommend anything at all, and if not, what would decide.

Owns that rule. The best swap on the search items is no recommendation where

1. it solves no more than chance. Answers are free text, so chance solves none: with fewer than
   `MIN_RIGHT` items right, McNemar's exact test cannot tell it from a model that has none right.
2. it cannot be told from any other recipe: by the same test it is better neither than one of the
   other swaps nor than the best of what needs no search (base, experts, soups).

One swap that is told apart is enough: then the search has seen that recipes differ, and which
others might as well be taken is a line of the report. Where all swaps are alike but better than
what needs no search, any of them is worth having, and the best is recommended. The best of many is
also the luckiest: of forty equal recipes the best and the worst nearly always seem to differ. So a
p-value counts as often as there are pairs of recipes (Bonferroni), which holds however much they
have in common.

Trials that were stopped early count among the others, on the items that they answered. Answers
are read from the worst recipe on, and only where the counts allow a difference; where there are
none on record, as in MLflow, the counts decide, in the recipes' favour.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from objectives import targets
from objectives.stats import mcnemar
from objectives.types import ItemResult
from objectives.words import counted
from search.common.errors import StudyError
from search.merging.recipe import Single
from search.records.reader import RecordsReader
from search.records.record import Record
from search.results.choose import Choice, best_first, best_swap, is_soup, is_swap, scored
from search.results.selection_bias import LEVEL

Answers = Callable[[Record], Sequence[ItemResult]]
"""A trial's per-item answers; none, or a StudyError, where they are not to be had."""

MIN_RIGHT = next(right for right in itertools.count(1) if 0.5 ** (right - 1) < LEVEL)
"""Items right from which on a recipe can be told from one that has none right."""
FEW_TRIALS = 10
"""Compared swaps below which more of them are what is missing, before items or another task are."""
NO_SWAP = "no layer swap has been scored"
_ENDS = {"failed": "failed", "infeasible": "was infeasible"}


class Discordant(NamedTuple):
    """How far two recipes lie apart: items that only the one or the other has right, of how many.

    Attributes:
        best: that only the best one has right.
        other: that only the other has.
        items: that both were asked.
    """

    best: int
    other: int
    items: int

    def significant(self, pairs: int) -> bool:
        """Whether the best one is better, as the least likely of so many pairs."""
        return self.best > self.other and mcnemar(self.best, self.other) * pairs < LEVEL

    def needed(self, pairs: int) -> float:
        """Items on which it would be told, to a tenth, if the difference is what it seems."""
        if self.best <= self.other:
            return math.inf
        growth = 1.1
        while not Discordant(round(growth * self.best), round(growth * self.other), 0).significant(
            pairs
        ):
            growth *= 1.1
        return growth * self.items


def recommend(records: RecordsReader, n_layers: int, tolerance: float) -> Choice | None:
    """The best swap of a study, with what speaks against recommending it.

    Args:
        records: the study.
        n_layers: the model's number of layers L.
        tolerance: as for `search.results.choose.best_swap`.

    Returns:
        The choice; None if no swap has been scored.
    """
    choice = best_swap(records.trials, n_layers, tolerance)
    return choice and with_doubt(choice, records.trials, n_layers, records.items)


def no_recommendation(choice: Choice | None, records: Iterable[Record] = ()) -> str:
    """Why nothing is recommended, and what would decide; empty where something is.

    Args:
        choice: the best swap, with its doubt; None if none was scored.
        records: trials of the study: where none has a score, that is why.
    """
    if choice is not None:
        return choice.doubt
    ended = list({(r.key, r.split): r for r in records}.values())
    if not ended or any(record.state in ("scored", "stopped") for record in ended):
        return NO_SWAP
    states = Counter(record.state for record in ended)
    (reason, times), *_ = Counter(record.reason for record in ended).most_common(1)
    what = " or ".join(_ENDS[state] for state in sorted(states))
    often = f"{times} of them" if times < len(ended) else "all of them"
    return f"every trial {what} ({len(ended)} of {len(ended)}), {often}: {reason}"


def with_doubt(
    choice: Choice, records: Iterable[Record], n_layers: int, answers: Answers
) -> Choice:
    """A choice with its doubt; without one where the first target is no share of items.

    Args:
        choice: what `search.results.choose.best_swap` chose.
        records: trials of the study.
        n_layers: the model's number of layers L.
        answers: of its trials.
    """
    target = targets.TARGETS[0]
    return (
        choice
        if target.won is None
        else replace(choice, doubt=_doubt(choice.record, list(records), n_layers, answers))
    )


def _doubt(best: Record, records: Sequence[Record], n_layers: int, answers: Answers) -> str:
    right, n = _count(best)
    swaps = [r for r in _compared(records) if is_swap(r.recipe, n_layers) and r.key != best.key]
    decides = f"What would decide: {_first_of_all(len(swaps) + 1)}"
    has = f"the best swap, {best.label}, has {right} of {n} search items right"
    if right < MIN_RIGHT:
        more = f" (about {_round(n * MIN_RIGHT / right)} at this rate)" if right else ""
        return (
            f"{has}, which cannot be told from none, as fewer than {MIN_RIGHT} cannot. {decides}an "
            f"easier task, or more items{more}."
        )
    plain = _plain(records, n_layers)
    others = sorted([*swaps, *plain], key=_share)
    pairs = math.comb(len(others) + 1, 2)
    needed = math.inf
    for pair in _distances(best, others, pairs, answers):
        if pair.significant(pairs):
            return ""
        needed = min(needed, pair.needed(pairs))
    if not others:
        return f"{has}, and there is no other recipe yet to tell it from. {decides}more items."
    others_in_words = f"any of the {len(swaps)} others" if len(swaps) > 1 else "the other one"
    named = [others_in_words] if swaps else []
    named += [f"{record.label}, the best that needs no search" for record in plain]
    more = f" (at least about {_round(needed)})" if needed < math.inf else ""
    return (
        f"{has}, and is not told from {' or '.join(named)} (McNemar's exact test, the best of "
        f"{counted(pairs, 'pair')}). {decides}more items{more}, or "
        f"{'an easier' if 2 * right < n else 'a harder'} task."
    )


def _first_of_all(swaps: int) -> str:
    """What would decide before anything else does: trials, where there are hardly any."""
    if swaps >= FEW_TRIALS:
        return ""
    return f"more trials, as {counted(swaps, 'swap is', 'swaps are')} few; after that "


def _distances(
    best: Record, others: Sequence[Record], pairs: int, answers: Answers
) -> Iterator[Discordant]:
    """From the best recipe to each other; answers are read only where they could tell the two."""
    for other in others:
        most = _most(best, other)
        yield (_paired(best, other, answers) or most) if most.significant(pairs) else most


def _most(best: Record, other: Record) -> Discordant:
    """As far as the counts allow two recipes to lie apart."""
    (right, _), (theirs, n) = _count(best), _count(other)
    return Discordant(max(0, min(right, n) - theirs), 0, n)


def _paired(best: Record, other: Record, answers: Answers) -> Discordant | None:
    """How two recipes lie apart on the items that both answered; None without answers."""
    try:
        ours, theirs = (targets.TARGETS[0].marks(answers(r)) for r in (best, other))
    except StudyError:
        return None
    both = [(ours[name], theirs[name]) for name in ours.keys() & theirs.keys()]
    return (
        Discordant(both.count((True, False)), both.count((False, True)), len(both))
        if both
        else None
    )


def _compared(records: Iterable[Record]) -> list[Record]:
    """The trials on search items that have a score, on all of them or until they were stopped."""
    found = {r.key: r for r in records if r.split == "search" and r.state in ("scored", "stopped")}
    return [r for r in found.values() if r.value(targets.TARGETS[0].score) is not None]


def _plain(records: Sequence[Record], n_layers: int) -> list[Record]:
    """The best of what needs no search; none if none was scored."""
    found = [
        r for r in scored(records) if isinstance(r.recipe, Single) or is_soup(r.recipe, n_layers)
    ]
    return sorted(found, key=best_first)[:1]


def _count(record: Record) -> tuple[int, int]:
    """Items right, of how many."""
    target = targets.TARGETS[0]
    score = record.scores[target.score]
    counted = round((score.value or 0.0) * score.n_scored)
    right = counted if target.direction == "maximize" else score.n_scored - counted
    return right, score.n_scored


def _share(record: Record) -> float:
    right, n = _count(record)
    return right / max(n, 1)


def _round(items: float) -> int:
    """Upwards to two digits."""
    unit = 10 ** max(0, math.floor(math.log10(items)) - 1)
    return int(math.ceil(items / unit - 1e-9) * unit)
