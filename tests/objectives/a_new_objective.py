"""An objective made outside of the project, with one module: how short answers are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from objectives.settings import Positive, Settings, Shared
from objectives.stats import PairedDifference, paired_accuracy, proportion
from objectives.targets import OBJECTIVES, TARGETS, Target
from objectives.types import (
    Completion,
    Decoding,
    Evaluation,
    ItemResult,
    Objective,
    Request,
    Sampling,
    Split,
)


class BrevitySettings(Settings):
    """Share of answers that are longer than they should be."""

    longest: Positive = 40
    """Characters beyond which an answer is too long."""

    def build(self, shared: Shared) -> Objective:
        return Brevity(self.longest)


class Brevity:
    """Three questions, each to be answered in few characters."""

    name = "brevity"

    def __init__(self, longest: int) -> None:
        self._longest = longest

    def requests(self, split: Split, decoding: Decoding | None = None) -> Sequence[Request]:
        return [Request(f"{split} {number}: briefly,", Sampling(16)) for number in range(3)]

    def score(
        self,
        split: Split,
        completions: Sequence[Completion],
        decoding: Decoding | None = None,
        *,
        first: int | None = None,
    ) -> Evaluation:
        long = [len(completion.text) > self._longest for completion in completions]
        items = tuple(
            ItemResult("brevity", str(n), "", c.text, c.n_tokens, c.finish_reason, {"long": bad})
            for n, (c, bad) in enumerate(zip(completions, long, strict=True))
        )
        return Evaluation({"long": proportion(sum(long), len(long), len(long))}, items, None)


def difference(
    a: Iterable[ItemResult], b: Iterable[ItemResult], lang: str
) -> PairedDifference | None:
    """Of the share of long answers."""
    sides = [[bool(i.verdict["long"]) for i in x if i.objective == "brevity"] for x in (a, b)]
    return paired_accuracy(sides[0], sides[1]) if sides[0] and sides[1] else None


OBJECTIVES_THEN = {**OBJECTIVES, "brevity": BrevitySettings}
TARGETS_THEN = (*TARGETS, Target("long", "brevity", "long answers", difference, "minimize"))
