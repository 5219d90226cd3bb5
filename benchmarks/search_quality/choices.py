"""Rules of choice compared: which of a search's trials should be recommended?

    python -m benchmarks.search_quality.choices [--seeds 50] [--lang te,sw] [--items drawn]

Replays the product's search on recorded landscapes and lets each rule choose among its trials. A
shortlist is compared on items that the search does not see: of the search items it is run on three
quarters, and the recipes of the list answer the rest. Prints held-out accuracy of the choice, and
what each rule gains over the best score on the same searches.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import optuna

from benchmarks.landscape.design import N_LAYERS
from benchmarks.landscape.packed import Bits, Landscape
from benchmarks.search_quality.replay import Field, replay
from benchmarks.search_quality.runs import field, interval, on_cores
from search.config.schema import SearchConfig
from search.merging.recipe import LayerSwap
from search.records.record import Record
from search.results import choose
from search.results.selection_bias import indistinguishable
from search.study.proposing.sampler import make_sampler
from search.study.proposing.surrogate import (
    Floats,
    Kernel,
    Posterior,
    arcsine,
    fit_hyperparameters,
    noise_variance,
)
from search.study.schedule import Schedule

AT = (20, 40, 100)
"""Trials after which a choice is made."""
SEEN = 0.75
"""Share of the search items that a search sees which keeps the others for a shortlist."""
BEST = "best score"


@dataclass(frozen=True)
class Tried:
    """What a search has tried when the choice is made.

    Attributes:
        land: the landscape.
        trials: scored recipes.
        right: whether each has each item right that the search sees, of shape (trials, items).
        own: the same of the items that are kept for a shortlist; none in a search that sees all.
    """

    land: Field
    trials: Sequence[Record]
    right: Bits
    own: Bits

    @cached_property
    def best(self) -> int:
        """Row of what the product recommends."""
        choice = choose.best_swap(self.trials, N_LAYERS, SearchConfig().tolerance)
        assert choice is not None
        return [record.key for record in self.trials].index(choice.record.key)

    @cached_property
    def believed(self) -> Floats:
        """What the sampler's model makes of each score, of shape (trials,)."""
        space, n = self.land.space(), self.right.shape[1]
        points = [space.point(record.recipe) or {} for record in self.trials]
        codes = np.array([space.grid.code(point) for point in points])
        values = arcsine(self.right.mean(axis=1), n)
        kernel, noises = Kernel(space.grid), np.full(len(values), noise_variance(n))
        recipes = kernel.encode(codes)
        hyperparameters = fit_hyperparameters(kernel, recipes, values, noises)
        return Posterior(kernel, hyperparameters, recipes, values, noises).posterior_mean

    @cached_property
    def layers(self) -> Floats:
        """Layers that the language expert has of each, those of transitions by half."""
        found = [record.recipe for record in self.trials]
        return np.array([r.b + r.u + (r.t_b + r.t_u) / 2 for r in found if _swap(r)])


Rule = Callable[[Tried], int]
"""The row of the recipe that is recommended."""


def best_score(tried: Tried) -> int:
    """The product's rule."""
    return tried.best


def posterior_mean(tried: Tried) -> int:
    """The highest mean of the sampler's own model."""
    return int(tried.believed.argmax())


def not_told_apart(tried: Tried) -> int:
    """The fewest layers of the language expert among those that McNemar's test cannot tell."""
    return _simplest(tried, [tried.best, *indistinguishable(tried.right, tried.best)])


def half_an_error(tried: Tried) -> int:
    """The same among those within half a standard error of the best score."""
    shares = tried.right.mean(axis=1)
    best = shares[tried.best]
    within = best - 0.5 * np.sqrt(best * (1 - best) / tried.right.shape[1])
    return _simplest(tried, [tried.best, *np.flatnonzero(shares >= within)])


def shortlist(count: int, *, old: bool = True) -> Rule:
    """The best of so many, compared on their own items, and on the search's where `old`."""

    def rule(tried: Tried) -> int:
        scores = tried.right.sum(axis=1)
        listed = np.argsort(-scores, kind="stable")[:count]
        points = tried.own.sum(axis=1) + (scores if old else 0)
        return int(max(listed, key=lambda row: (points[row], scores[row])))

    return rule


WHOLE: Mapping[str, Rule] = {
    BEST: best_score,
    "posterior mean": posterior_mean,
    "fewest layers, p >= .05": not_told_apart,
    "fewest layers, half an error": half_an_error,
}
"""Rules for a search that sees all search items."""
LISTS = {f"shortlist of {n}": (n, shortlist(n)) for n in (5, 8)}
LISTS |= {f"shortlist of {n}, own items alone": (n, shortlist(n, old=False)) for n in (5, 8)}
"""Rules for one that sees a part -> how many recipes answer the rest."""


def _simplest(tried: Tried, rows: Iterable[int]) -> int:
    scores = tried.right.sum(axis=1)
    return int(min(rows, key=lambda row: (tried.layers[row], -scores[row], row)))


def _swap(recipe: object) -> bool:
    return isinstance(recipe, LayerSwap)


@dataclass(frozen=True)
class Chosen:
    """What a rule came to.

    Attributes:
        lang: language code of the landscape.
        rule: its name.
        trials: scored when it chose; a shortlist's search has more where answers are equal.
        answers: generated by then.
        held_out: held-out accuracy of its choice, as a share.
        layers: as `Tried.layers`.
    """

    lang: str
    rule: str
    trials: int
    answers: int
    held_out: float
    layers: float


def compare(lang: str, seed: int, drawn: bool, at: Sequence[int] = AT) -> list[Chosen]:
    """All rules on one seed's searches.

    Args:
        lang: language code of the landscape.
        seed: of the sampler, and of the items where they are drawn.
        drawn: whether search and held-out items are drawn again for this seed; else as recorded.
        at: trials after which a choice is made.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    return compare_on(field(lang).recorded, seed, drawn, at)


def _compared(task: tuple[str, int, bool]) -> list[Chosen]:
    return compare(*task)


def compare_on(recorded: Landscape, seed: int, drawn: bool, at: Sequence[int]) -> list[Chosen]:
    """As `compare`, on any landscape."""
    lang, n = recorded.lang, recorded.right("search").shape[1]
    items = recorded.items(seed if drawn else None)
    search, held_out, part = items[:n], items[n:], round(SEEN * n)
    found: list[Chosen] = []

    def add(name: str, rule: Rule, tried: Tried, budget: int, answers: int) -> None:
        row = rule(tried)
        record = tried.trials[row]
        accuracy = float(tried.land.held_out[tried.land.row[record.key]])
        found.append(Chosen(lang, name, budget, answers, accuracy, float(tried.layers[row])))

    whole = Field(recorded.with_items(search, held_out))
    trials = _searched(whole, seed, max(at))
    for budget in at:
        tried = _tried(whole, trials[:budget], n)
        for name, rule in WHOLE.items():
            add(name, rule, tried, budget, budget * n)
    seen = Field(recorded.with_items(search[:part], held_out))
    trials = _searched(seen, seed, _equal(max(at), n, part, 0))
    right = recorded.with_items(search, held_out)
    for budget in at:
        for name, (count, rule) in LISTS.items():
            for ending, scored in (
                ("", budget),
                (", equal answers", _equal(budget, n, part, count)),
            ):
                tried = _tried(seen, trials[:scored], part, right)
                answers = scored * part + count * (n - part)
                add(name + ending, rule, tried, budget, answers)
    return found


def _equal(budget: int, n: int, part: int, count: int) -> int:
    """Trials on a part of the items that, with a list on the rest, cost no more answers."""
    return (budget * n - count * (n - part)) // part


def _searched(land: Field, seed: int, trials: int) -> list[Record]:
    config = SearchConfig(trials=trials, seed=seed, engines=1)
    found = replay(
        land,
        lambda schedule, study, space, known: make_sampler(schedule, study, space, known, ()),
        Schedule.of("replay", config),
    )
    return found.trials


def _tried(
    land: Field, trials: Sequence[Record], part: int, whole: Landscape | None = None
) -> Tried:
    rows = [land.row[record.key] for record in trials]
    right = (whole or land.recorded).right("search")[rows]
    return Tried(land, trials, right[:, :part], right[:, part:])


def table(found: Sequence[Chosen]) -> Iterator[str]:
    """A Markdown table for each language, with 95% intervals of the means over seeds."""
    for lang in dict.fromkeys(c.lang for c in found):
        own = [c for c in found if c.lang == lang]
        budgets = list(dict.fromkeys(c.trials for c in own))
        yield ""
        yield f"| {lang} | " + " | ".join(f"{n} trials | answers" for n in budgets) + " | layers |"
        yield "| --- |" + " ---: |" * (2 * len(budgets) + 1)
        for rule in dict.fromkeys(c.rule for c in own):
            cells = [_cell(own, rule, budget) for budget in budgets]
            layers = np.mean([c.layers for c in own if c.rule == rule])
            yield f"| {rule} | " + " | ".join(cells) + f" | {layers:.1f} |"


def _cell(own: Sequence[Chosen], rule: str, budget: int) -> str:
    """The best score's accuracy, and what another rule gains over it on the same seeds."""
    at = [c for c in own if c.trials == budget]
    mine = [c for c in at if c.rule == rule]
    values = np.array([c.held_out for c in mine])
    sign = ""
    if rule != BEST:
        values = values - np.array([c.held_out for c in at if c.rule == BEST])
        sign = "+"
    mean, low, high = (100 * v for v in interval(values))
    answers = np.mean([c.answers for c in mine])
    return f"{mean:{sign}.2f} ({low:{sign}.2f} to {high:{sign}.2f}) | {answers:,.0f}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lang", default="te,sw", help="landscapes, by language")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument(
        "--items",
        choices=("drawn", "recorded"),
        default="drawn",
        help="search and held-out items drawn again for each seed, or as recorded",
    )
    given = parser.parse_args(argv)
    tasks = itertools.product(given.lang.split(","), range(given.seeds), [given.items == "drawn"])
    parts = on_cores(_compared, tasks)
    print("\n".join(table([chosen for part in parts for chosen in part])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
