"""What a search by parts has asked for: how partial evaluations of a recipe are counted.

Greedy answers stay the same, so a recipe that goes on to more items is asked only those that it has
not answered, and one that is proposed again costs nothing: the kindest count there is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.search_quality.replay import Clock, Field, Run
from search.merging.recipe import from_dict
from search.study.order import Candidate


@dataclass
class Ledger:
    """Answers that a search has asked for.

    Attributes:
        land: what is searched.
        clock: how long answers take.
        run: recipes that were scored in full, with the answers and seconds spent until then.
        asked: key -> items that the recipe has answered.
        items: answers in all.
        seconds: simulated.
    """

    land: Field
    clock: Clock
    run: Run = field(default_factory=Run)
    asked: dict[str, int] = field(default_factory=dict)
    items: int = 0
    seconds: float = 0.0

    def wrong(self, name: str, count: int) -> float:
        """Share of the first so many search items that a recipe fails; new ones are paid for."""
        row = self.land.row[name]
        right = self.land.recorded.right("search")[row]
        before = self.asked.get(name, 0)
        if count > before:
            tokens = self.land.recorded.tokens["mgsm.search"][row]
            self.seconds += self.clock.seconds(tokens[before:count])
            self.items += count - before
            self.asked[name] = count
            if count == len(right):
                self._in_full(name)
        return 1.0 - float(right[:count].mean())

    def _in_full(self, name: str) -> None:
        recipe = from_dict(self.land.recorded.recipes[self.land.row[name]])
        candidate = Candidate(recipe, name, "search", "search", len(self.run.trials))
        self.run.trials.append(self.land.record(candidate))
        self.run.items.append(self.items)
        self.run.ends.append(self.seconds)
