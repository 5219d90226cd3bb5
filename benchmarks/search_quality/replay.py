"""One whole search on a recorded landscape.

Owns the clock: engines that take a modelled time for a trial, in place of engines. Proposals come
from the product's order and sampler, scores from the landscape's search items; held-out items are
looked at only to say how good a choice was.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from benchmarks.landscape.design import N_LAYERS, even_space
from benchmarks.landscape.packed import Landscape
from objectives import targets
from objectives.stats import proportion
from objectives.types import Score
from search.merging.recipe import LayerSwap, Recipe, Ties, from_dict, key
from search.merging.space.contract import MainSpace
from search.merging.space.pairs import Pair, all_pairs
from search.merging.space.swap import Space
from search.records.record import Origin, Record
from search.results import choose
from search.study.order import Candidate, Order, SetThreshold, no_threshold
from search.study.proposing.phase import Phase
from search.study.race import Rules, Threshold, judge
from search.study.schedule import Schedule

EXPERTS = {"te": (3, 3), "sw": (3, 2)}
"""Language -> task experts and language experts of the demo family."""


@dataclass(frozen=True)
class Clock:
    """Seconds of a trial: a part for each token step of a batch, a part for each token.

    Attributes:
        step: seconds of a step of a batch, however many sequences are in it.
        token: seconds of a token in a batch.
        start: seconds of a trial beside generation.
        batch: sequences that run at once.
    """

    step: float
    token: float
    start: float
    batch: int

    def seconds(self, tokens: NDArray[np.uint16]) -> float:
        """Of answers with so many tokens each, all asked for at once."""
        rounds = -(-len(tokens) // self.batch)
        return float(self.start + rounds * self.step * tokens.max() + self.token * tokens.sum())


CLOCKS = {
    "laptop": Clock(step=0.004, token=0.00008, start=0.1, batch=256),
    "gpu": Clock(step=0.012, token=0.00001, start=0.3, batch=256),
}
"""One core with the demo's models; a GPU with a model of 8 billion parameters, estimated."""


@dataclass(frozen=True)
class Field:
    """A landscape as a search sees it: the recipes of its space that were recorded.

    Attributes:
        recorded: the landscape.
        ranges: of b, u, t_b and t_u, both ends included; the whole model where none is named.
        make: makes another space that is searched in place of the zones.
    """

    recorded: Landscape
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    make: Callable[[], MainSpace] | None = None

    @cached_property
    def row(self) -> dict[str, int]:
        """Key -> place in the landscape."""
        return {name: i for i, name in enumerate(self.recorded.keys)}

    @cached_property
    def recipes(self) -> list[Recipe]:
        """Every recorded recipe."""
        return [from_dict(data) for data in self.recorded.recipes]

    @cached_property
    def held_out(self) -> NDArray[np.float64]:
        """Held-out accuracy of every recorded recipe."""
        return self.recorded.accuracy("held_out")

    @cached_property
    def search(self) -> NDArray[np.float64]:
        """Search accuracy of every recorded recipe."""
        return self.recorded.accuracy("search")

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs of which all zones at an even share were recorded."""
        found = []
        for pair in all_pairs(*EXPERTS[self.recorded.lang]):
            recipes = self._zones((pair,)).recipes()
            if all(key(recipe, N_LAYERS) in self.row for recipe in recipes):
                found.append(pair)
        return tuple(found)

    def drawn(self, seed: int) -> Field:
        """The same recipes, as many search and held-out items drawn again from all of them."""
        items, n = self.recorded.items(seed), self.recorded.right("search").shape[1]
        found = replace(self, recorded=self.recorded.with_items(items[:n], items[n:]))
        for name in (
            "row",
            "recipes",
            "pairs",
            "in_space",
            "soups",
            "ties",
        ):  # they depend on no item
            vars(found)[name] = getattr(self, name)
        return found

    def space(self) -> MainSpace:
        """All zones of those pairs, or the other space; nothing in it was proposed before."""
        return self.make() if self.make else self._zones(self.pairs)

    def _zones(self, pairs: tuple[Pair, ...]) -> Space:
        n_task, n_lang = EXPERTS[self.recorded.lang]
        return even_space(self.recorded.lang, n_task, n_lang, pairs, **self.ranges)

    @cached_property
    def in_space(self) -> NDArray[np.int64]:
        """Places of the recipes of the space."""
        space = self.space()
        names = {space.key_of(space.grid.point(code)) for code in space.grid.all()}
        return np.array(sorted(self.row[name] for name in names))

    @cached_property
    def best(self) -> float:
        """Highest held-out accuracy of the space."""
        return float(self.held_out[self.in_space].max())

    @cached_property
    def soups(self) -> list[int]:
        """Places of the pairs' averages."""
        recipes = enumerate(self.recipes)
        return [i for i, r in recipes if isinstance(r, LayerSwap) and choose.is_soup(r, N_LAYERS)]

    @cached_property
    def ties(self) -> list[int]:
        """Places of the recipes of TIES."""
        return [i for i, recipe in enumerate(self.recipes) if isinstance(recipe, Ties)]

    def best_of(self, rows: Sequence[int]) -> float | None:
        """Held-out accuracy of that of some recipes which is best on search items."""
        if not rows:
            return None
        return float(self.held_out[max(rows, key=lambda i: (self.search[i], -i))])

    @cached_property
    def default(self) -> float:
        """Held-out accuracy of the default recipe, of the pair that it suits best on search."""
        space = self.space()
        rows = [self.row[key(space.default_recipe(pair), N_LAYERS)] for pair in space.pairs]
        found = self.best_of(rows)
        assert found is not None  # a space has a pair
        return found

    def threshold(self, rules: Rules) -> SetThreshold:
        """Holds each trial to the best of those known, as the product does."""

        def threshold(recipe: Recipe, origin: Origin, known: Iterable[Record]) -> Threshold | None:
            best = min(choose.scored(known), key=choose.best_first, default=None)
            if best is None:
                return None
            answers = self.recorded.right("search")[self.row[best.key]]
            return Threshold(rules, best.key, tuple(map(bool, answers)))

        return threshold

    def record(self, candidate: Candidate) -> Record:
        """A trial as the product's records have it, stopped where its threshold says so."""
        row = self.row[candidate.key]
        right = self.recorded.right("search")[row]
        stopped, threshold = None, candidate.threshold
        for share in threshold.rules.looks if threshold else ():
            own = right[: round(share * len(right))]
            stopped = judge(threshold, own.tolist())
            if stopped is not None:
                right = own
                break
        asked = len(right)
        scores = {"accuracy": proportion(int(right.sum()), asked, asked)}
        perfect = Score(1.0, 1.0, 1.0, asked, asked)
        scores |= {target.score: perfect for target in targets.TARGETS[1:]}
        return Record(
            0,
            candidate.key,
            "search",
            "scored" if stopped is None else "stopped",
            candidate.origin,
            "",
            self.recipes[row],
            scores=scores,
            place=candidate.place,
            stopped=stopped,
        )


MakeSampler = Callable[
    [Schedule, optuna.Study, MainSpace, Sequence[Record]], optuna.samplers.BaseSampler
]


@dataclass
class Run:
    """What a replayed search did.

    Attributes:
        trials: its trials in the order of their ends.
        ends: simulated seconds at which each ended.
        items: answers that were generated until then.
    """

    trials: list[Record] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    items: list[int] = field(default_factory=list)


def replay(
    land: Field,
    make: MakeSampler,
    schedule: Schedule,
    clock: Clock = CLOCKS["laptop"],
    race: Rules | None = None,
    first: Sequence[Mapping[str, Any]] = (),
) -> Run:
    """Search a landscape.

    Args:
        land: what is searched.
        make: the sampler.
        schedule: trials, engines, seed and order.
        clock: how long a trial takes.
        race: when trials are looked at; None: each is scored in full.
        first: points that are proposed after the default recipes.
    """
    found, space = Run(), land.space()
    study = optuna.create_study(directions=[target.direction for target in targets.TARGETS])
    for point in [*space.default_points(), *first]:
        study.enqueue_trial(dict(point))
    study.sampler = make(schedule, study, space, found.trials)
    phase = Phase("search", space, study, schedule.trials)
    order = Order(
        [phase],
        found.trials,
        N_LAYERS,
        lambda: (),
        lag=schedule.lag,
        threshold=land.threshold(race) if race else no_threshold,
    )
    free = [0.0] * (schedule.engines or 1)
    running: list[tuple[float, int, Candidate, Record]] = []
    now = 0.0
    while True:
        while free:
            candidate = order.next()
            if candidate is None:
                break
            now = max(now, heapq.heappop(free))
            record = land.record(candidate)
            tokens = land.recorded.tokens["mgsm.search"][land.row[candidate.key]]
            seconds, looks = (
                0.0,
                [*(candidate.threshold.rules.looks if candidate.threshold else ()), 1.0],
            )
            asked, before = record.scores["accuracy"].n_total, 0
            for look in looks:
                n = round(look * len(tokens))
                if n <= asked:
                    seconds += clock.seconds(tokens[before:n])
                    before = n
            heapq.heappush(running, (now + seconds, candidate.place or 0, candidate, record))
        if not running:
            return found
        now, _, ended, record = heapq.heappop(running)
        heapq.heappush(free, now)
        found.trials.append(record)
        found.ends.append(now)
        found.items.append((found.items or [0])[-1] + record.scores["accuracy"].n_total)
        order.ended(ended, record)
