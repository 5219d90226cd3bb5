"""What a proposed trial is held to at its looks: the best trial so far, and the floors.

Owns the rule that picks the incumbent. It is a function of the ends that the proposal was made
from, so that a study that is run again, or resumed, stops the same trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from objectives import targets
from objectives.types import ItemResult
from search.merging.recipe import Layered, Recipe
from search.records.record import Origin, Record
from search.study.floors import Floor, gain
from search.study.race import Rules, Threshold


class Thresholds:
    """What each trial has to beat; keeps the answers of the last incumbent only."""

    def __init__(
        self,
        answers_of: Callable[[Record], Sequence[ItemResult]],
        rules: Rules,
        tolerance: float,
        lang: str,
    ) -> None:
        """Know no incumbent yet.

        Args:
            answers_of: per-item results of a trial; none where there are none.
            rules: when trials are looked at.
            tolerance: how far below its language expert's a recipe's LCPR may lie, as a share.
            lang: language code.
        """
        self._answers_of, self._rules = answers_of, rules
        self._tolerance, self._lang = tolerance, lang
        self._last: tuple[str, tuple[bool, ...]] = ("", ())

    def of(self, recipe: Recipe, origin: Origin, known: Iterable[Record]) -> Threshold | None:
        """The threshold of a proposed recipe; None where it is to be scored in full.

        The incumbent is the best scored trial of the same search; in the main search, of those
        that keep the floors. Without one there is none: what is best then is another rule's.

        Args:
            recipe: what is proposed.
            origin: which search proposes it.
            known: the ended trials that the proposal was made from.

        Raises:
            StudyError: the incumbent's answers cannot be read.
        """
        main = targets.TARGETS[0]
        if main.won is None or origin == "baseline":
            return None
        ended = list(known)
        floors = self._floors(ended) if origin == "search" else []
        own = (r for r in ended if r.origin == origin and r.state == "scored")
        good = (r for r in own if all(_keeps(floor, r) for floor in floors))
        best = max(good, key=lambda r: (gain(r, main), r.key), default=None)
        answers = () if best is None else self._answers(best)
        if best is None or not answers:
            return None
        return Threshold(self._rules, best.key, answers, _least(floors, recipe), self._lang)

    def _floors(self, ended: Sequence[Record]) -> list[Floor]:
        floors = (Floor.of(guard, ended, self._tolerance) for guard in targets.TARGETS[1:])
        return [floor for floor in floors if floor.known]

    def _answers(self, record: Record) -> tuple[bool, ...]:
        """Whether a trial solved each item of the first target."""
        main = targets.TARGETS[0]
        if self._last[0] != record.key:
            self._last = record.key, tuple(main.marks(self._answers_of(record)).values())
        return self._last[1]


def _least(floors: Iterable[Floor], recipe: Recipe) -> dict[str, float]:
    """Score name -> the gain that a recipe must reach in it."""
    if not isinstance(recipe, Layered):
        return {}
    return {floor.target.score: floor.least(recipe.lang_source) for floor in floors}


def _keeps(floor: Floor, record: Record) -> bool:
    return isinstance(record.recipe, Layered) and floor.reached(record)
