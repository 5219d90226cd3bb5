"""One score that is optimised, or held to a floor: plain data, and what follows from it.

Owns what a target needs of per-item results; what they mean is their objective's to say. Being
plain data, a study's targets are kept with it and read without the objectives' code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from objectives.foreseen import lcpr_draws
from objectives.paired import item_difference, lcpr_difference, said, tables
from objectives.stats import Combine, PairedDifference, Table, mean_score, paired_parts
from objectives.types import ItemResult, Score, Verdict

Kind = Literal["share", "mean", "parts", "lcpr", "weighted", "worst"]


@dataclass(frozen=True)
class Target:
    """One score.

    Attributes:
        score: name among an objective's scores, as in records and MLflow.
        objective: name of the objective that gives it.
        people: what tables and figures call it.
        direction: whether more is better.
        kind: a `share` of items, the `mean` of numbers, a mean over `parts` of weighted means (see
            `objectives.paired.tables`), or `lcpr`, which has rules of its own; of several targets
            a `weighted` mean, or the `worst`.
        item: field of an item's verdict that the score is the share or mean of; empty where items
            do not say.
        least: the floor that `objective.constraints` sets, a ceiling where less is better; None:
            the first target has none, and others the language expert's, less a tolerance.
        of: the targets that this one is made of, each a share, a mean or a mean over parts of which
            more is better; it is no objective's own score then.
        weights: what each of them counts for in a weighted mean.
    """

    score: str
    objective: str
    people: str
    direction: Literal["maximize", "minimize"] = "maximize"
    kind: Kind = "share"
    item: str = ""
    least: float | None = None
    of: tuple[Target, ...] = ()
    weights: tuple[float, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Target:
        """The inverse of `dataclasses.asdict`.

        Raises:
            TypeError: it is no target.
        """
        own = tuple(map(cls.from_dict, data.get("of", ())))
        return cls(**{**data, "of": own, "weights": tuple(data.get("weights", ()))})

    def gain(self, value: float) -> float:
        """The value, or its negative where less is better: more gain is always better."""
        return value if self.direction == "maximize" else -value

    @property
    def won(self) -> Callable[[Verdict], bool] | None:
        """Whether an item counts for the score; None where it is no share of items."""
        if self.kind != "share" or not self.item:
            return None
        return lambda verdict: bool(said(verdict, self.item))

    @property
    def test(self) -> str:
        """What the p-value of `compare` is by."""
        if self.kind == "share":
            return "McNemar's exact test"
        return "random signs" if self.kind == "mean" else "a paired bootstrap"

    @property
    def interval(self) -> str:
        """What a score's interval is; empty where that is its objective's to say."""
        if self.kind == "share":
            return "Wilson"
        return "" if self.kind == "mean" else "bootstrap"

    def marks(self, items: Iterable[ItemResult]) -> dict[str, bool]:
        """Item -> whether it is good for a target that is a share of items, in their order.

        Args:
            items: per-item results of any objectives.
        """
        won = self.won
        assert won is not None
        good = self.direction == "maximize"
        return {i.id: won(i.verdict) == good for i in items if i.objective == self.objective}

    def compare(
        self, a: Iterable[ItemResult], b: Iterable[ItemResult], lang: str
    ) -> PairedDifference | None:
        """The score of a minus that of b, on the items that both have; None where none says.

        Args:
            a: per-item results of one model, of any objectives.
            b: the same of the other.
            lang: language code.
        """
        if self.kind == "lcpr":
            return lcpr_difference(a, b, lang)
        if self.kind == "parts" or self.of:
            tasks = self._tasks((list(a), list(b)))
            return paired_parts(tasks, self._combine) if all(tasks) else None
        if not self.item:
            return None
        return item_difference(a, b, self.objective, self.item, share=self.kind == "share")

    def combined(self, items: Iterable[ItemResult]) -> Score | None:
        """The score of several targets, by a bootstrap over items; None where it is of one.

        Args:
            items: per-item results of one model, of any objectives.
        """
        return mean_score(self._tasks((list(items),)), self._combine) if self.of else None

    def _tasks(self, sides: tuple[list[ItemResult], ...]) -> list[list[Table]]:
        """The parts of what it is made of, of the items that all sides have."""
        return [tables(sides, one.objective, one.item) for one in self.of or (self,)]

    @property
    def _combine(self) -> Combine:
        if self.kind == "worst":
            return lambda means: np.asarray(means.min(axis=0))
        weights = self.weights if self.kind == "weighted" else (1.0,)
        return lambda means: np.asarray(np.average(means, axis=0, weights=weights))

    def foresee(
        self, items: Iterable[ItemResult], total: int, lang: str
    ) -> NDArray[np.float64] | None:
        """Draws of what the score of all items may be; None where nothing foresees it.

        Args:
            items: results of the first items of all objectives.
            total: number of the objective's items.
            lang: language code.
        """
        return lcpr_draws(items, total, lang) if self.kind == "lcpr" else None
