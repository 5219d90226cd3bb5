"""How low a recipe's other targets may fall: to its language expert's, less a tolerance.

Owns that rule; who holds recipes to it are the choice, the sampler and the looks at a running
trial. Pure functions of records.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from objectives import targets
from objectives.target import Target
from search.merging.recipe import Layered, Single
from search.merging.source import Source
from search.records.record import Record


def gain(record: Record, target: Target) -> float:
    """How good a trial is believed to be in a target; below everything where it has no score."""
    value = believed(record, target)
    return float("-inf") if value is None else target.gain(value)


def believed(record: Record, target: Target) -> float | None:
    """A trial's score as far as it is known: of a stopped one's first target, the estimate."""
    if record.stopped is not None and target.score == targets.TARGETS[0].score:
        return record.stopped.estimate
    return record.value(target.score)


@dataclass(frozen=True)
class Floor:
    """What a target must reach: a constraint's number, or what its language expert has.

    Attributes:
        target: whose score it is.
        experts: gain of each language expert that has one, by source.
        tolerance: how far below its expert's a recipe's may lie, as a share.
    """

    target: Target
    experts: dict[str, float]
    tolerance: float

    @classmethod
    def of(cls, target: Target, trials: Iterable[Record], tolerance: float) -> Floor:
        """The floor that a study's trials on search items set."""
        found = {
            r.recipe.source: target.gain(value)
            for r in trials
            if isinstance(r.recipe, Single) and Source.of(r.recipe.source).kind == "lang"
            if (value := r.value(target.score)) is not None
        }
        return cls(target, found, tolerance)

    @property
    def known(self) -> bool:
        """Whether there is a number to reach."""
        return self.target.least is not None or bool(self.experts)

    def least(self, source: str) -> float:
        """The gain that a recipe with this language expert must reach, where it is known.

        Where the expert has no score, the best language expert stands in.
        """
        if self.target.least is not None:
            return self.target.gain(self.target.least)
        own = self.experts.get(source)
        return (max(self.experts.values()) if own is None else own) - self.tolerance

    def reached(self, record: Record) -> bool:
        """Whether a swap's score will do; any will where no expert has one."""
        if not self.known:
            return True
        assert isinstance(record.recipe, Layered)
        # differences of shares are sums of binary fractions: 0.98 - 0.02 must not fail for 1e-17
        return gain(record, self.target) >= self.least(record.recipe.lang_source) - 1e-9
