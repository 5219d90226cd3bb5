"""The sampler that knows what a recipe is: a Gaussian process over all recipes of a space.

Owns what is proposed after which ends. A proposal follows from the records up to an earlier place,
what is under way, the seed and its own place alone, so a search that was interrupted goes on as if
it had not been. Optuna keeps the trials; their scores are read from the records. The numerics are
`search.study.proposing.surrogate`'s.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState
from scipy.special import ndtr
from threadpoolctl import ThreadpoolController

from objectives import targets
from objectives.target import Target
from search.merging.recipe import LayerSwap
from search.merging.space.contract import SearchSpace
from search.merging.space.grid import Axis, Codes, Grid
from search.merging.space.pairs import pair_of
from search.records.record import Record
from search.study.floors import Floor, believed, gain
from search.study.proposing.acquisition import expected_improvement, hypervolume_gain
from search.study.proposing.surrogate import (
    EncodedRecipes,
    Floats,
    Hyperparameters,
    Kernel,
    Posterior,
    arcsine,
    fit_hyperparameters,
    noise_variance,
)
from search.study.schedule import Schedule

MAX_ENUMERATED = 6000
"""Up to so many codes, all recipes of a space are candidates."""
N_CANDIDATES = 1000
"""Of a larger space, so many are."""
N_INCUMBENTS = 8
"""Best recipes whose neighbours are candidates as well."""
N_CLIMBERS = 4
"""Best candidates whose neighbours are looked at as well, then those of the better ones."""
MAX_CLIMBS = 6
"""How often."""
MAX_OBSERVATIONS = 200
"""Trials that the model knows: of more, the best half of them and the latest."""
MAX_FIT_OBSERVATIONS = 100
"""Trials that the model's hyperparameters are fitted to."""
REFIT_DIVISOR = 8
"""They are fitted anew when one in so many trials more, an eighth, have ended."""
MIN_OBSERVATIONS = 4
"""Recipes of the space that must have been scored before the model is asked."""
SHORTLIST = 200
"""Best candidates that what is under way is held against; it makes none of them better."""
MAX_PENDING = 128
"""Trials under way that count: of more, some."""
MC_SAMPLES = 64
"""Draws by which the gain of a Pareto front is estimated."""

GainOf = Callable[[EncodedRecipes, "EncodedRecipes | None", Floats, Floats], Floats]
"""Recipes, those under way, mean and deviation of the first target -> what each is worth."""


@cache
def _libraries() -> ThreadpoolController:
    """The loaded libraries of linear algebra.

    They get one thread: matrices are small here, and beside busy engines two threads wait for each
    other ten times as long as they work.
    """
    return ThreadpoolController()


@dataclass(frozen=True)
class Observations:
    """Trials whose ends are known.

    Attributes:
        codes: their indices on the axes, of shape (n, axes).
        records: their ends.
    """

    codes: Codes
    records: Sequence[Record]

    def only(self, wanted: Callable[[Record], bool]) -> Observations:
        """Those whose record is wanted."""
        return self.at([i for i, record in enumerate(self.records) if wanted(record)])

    def at(self, indices: Sequence[int]) -> Observations:
        """Those at these indices."""
        return Observations(self.codes[list(indices)], [self.records[i] for i in indices])


@dataclass(frozen=True)
class Ranked:
    """Recipes by what they are worth, the best first.

    Attributes:
        codes: of shape (n, axes).
        worth: of shape (n,).
    """

    codes: Codes
    worth: Floats

    def joined(self, codes: Codes, worth: Floats) -> Ranked:
        """With some more, each recipe once."""
        both = falling(np.concatenate([self.codes, codes]), np.concatenate([self.worth, worth]))
        _, first = np.unique(both.codes, axis=0, return_index=True)
        first.sort()
        return Ranked(both.codes[first], both.worth[first])


class FlatSampler(optuna.samplers.BaseSampler):
    """A sampler that proposes all parameters of a recipe at once, in the flat form of a space."""

    def __init__(self, grid: Grid, seed: int) -> None:
        """Know the flat form, and a seed for what fixed trials leave open."""
        self._grid, self._seed = grid, seed

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Every parameter of the flat form."""
        return {axis.name: _distribution(axis) for axis in self._grid.axes}

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: Mapping[str, BaseDistribution],
    ) -> dict[str, Any]:
        """A whole recipe; nothing for a trial whose recipe is fixed."""
        return {} if "fixed_params" in trial.system_attrs else self.proposed(study, trial)

    @abstractmethod
    def proposed(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        """All parameters of a trial's recipe."""

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """What a fixed trial leaves open."""
        by_chance = optuna.samplers.RandomSampler(seed=self._seed + trial.number)
        return by_chance.sample_independent(study, trial, param_name, param_distribution)


class ModelSampler(FlatSampler):
    """Proposes the recipe from which most is expected, within what the other targets allow.

    Attributes:
        place: place in the study's order of the proposal that is asked for next.
    """

    def __init__(
        self,
        space: SearchSpace,
        trials: Sequence[Record],
        schedule: Schedule,
        guards: Sequence[Target] | None = None,
    ) -> None:
        """Know a space and the study's records.

        Args:
            space: what is searched; what it has `seen` is not proposed again.
            trials: the study's records, which grow.
            schedule: how the study runs.
            guards: targets that may not fall below their floors; None: all after the first.
        """
        super().__init__(space.grid, schedule.seed)
        self.place = 0
        self._space, self._trials, self._schedule = space, trials, schedule
        self._guards = targets.TARGETS[1:] if guards is None else guards
        self._kernel = Kernel(self._grid)
        self._pair = [axis.kind for axis in self._grid.axes].index("pair")
        small = self._grid.size() <= MAX_ENUMERATED
        self._whole = self._kernel.encode(self._grid.all()) if small else None
        self._rows: dict[int, tuple[str, tuple[int, ...]]] = {}  # Optuna's number -> key, code
        self._ended: dict[str, Record] = {}
        self._read = 0  # records that `_ended` knows
        self._fitted: dict[str, tuple[int, Hyperparameters]] = {}  # score -> of so many trials

    def proposed(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        """The recipe from which most is expected."""
        with _libraries().limit(limits=1, user_api="blas"):
            return self._proposed(study, trial)

    def _proposed(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        rng = np.random.default_rng([self._seed, self.place])
        observed, pending = self._observations(study, trial.number)
        for code in self._best_first(observed, pending, rng):
            point = self._grid.point(code)
            if self._space.key_of(point) not in self._space.seen:
                return point
        return self._grid.point(self._grid.sample(rng, 100)[0])  # a repetition, as all are known

    def _observations(self, study: optuna.Study, own: int) -> tuple[Observations, Codes]:
        """Trials whose ends may be known, and the codes of those that are under way."""
        new = self._trials[self._read :]
        self._ended |= {r.key: r for r in new if r.split == "search"}
        self._read += len(new)
        observed: dict[str, tuple[tuple[int, ...], Record]] = {}
        pending: dict[str, tuple[int, ...]] = {}
        for trial in study.get_trials(deepcopy=False):
            name, code = self._rows.get(trial.number) or self._row(trial)
            record = self._ended.get(name)
            if not name or trial.number == own:
                continue
            if record is None:
                if trial.state == TrialState.RUNNING:
                    pending[name] = code
            elif self._schedule.knows(record.place, self.place):
                observed[name] = code, record
            elif _place(record) < self.place:
                pending[name] = code
        rows = [observed[name] for name in sorted(observed)]
        shape = -1, len(self._grid.axes)
        codes = np.array([code for code, _ in rows], dtype=np.int64).reshape(shape)
        waiting = np.array(sorted(pending.values())[-MAX_PENDING:], dtype=np.int64).reshape(shape)
        return Observations(codes, [record for _, record in rows]), waiting

    def _row(self, trial: FrozenTrial) -> tuple[str, tuple[int, ...]]:
        """Key and code of a trial; no key where it has no recipe of the space, or none yet."""
        name = trial.user_attrs.get("key")
        if name is None or not trial.params:
            return "", ()
        self._rows[trial.number] = name, self._grid.code(trial.params)
        return self._rows[trial.number]

    def _best_first(
        self, observed: Observations, pending: Codes, rng: np.random.Generator
    ) -> Codes:
        """Candidates, the most promising first."""
        main = targets.TARGETS[0]
        scored = observed.only(partial(_has, target=main))
        if len(scored.records) < MIN_OBSERVATIONS:
            drawn = self._grid.sample(rng, 200)
            return np.asarray(drawn[rng.permutation(len(drawn))])
        known, model = self._model(scored, main)
        candidates = self._candidates(
            known.codes[np.argsort(-model.posterior_mean, kind="stable")], rng
        )

        if self._schedule.sampler == "gp_pareto":
            gain_of = self._front_gain(known, rng)
        else:
            gain_of = self._allowed_gain(observed, model.recipes, model.posterior_mean)

        def worth_of(recipes: EncodedRecipes, pending: EncodedRecipes | None = None) -> Floats:
            return gain_of(recipes, pending, *model.predict(recipes, pending))

        found = falling(candidates.codes, worth_of(candidates))
        if self._whole is None:
            found = self._climbed(found, worth_of)
        if not len(pending):
            return found.codes
        some = self._kernel.encode(found.codes[:SHORTLIST])
        first = falling(some.codes, worth_of(some, self._kernel.encode(pending)))
        return np.concatenate([first.codes, found.codes])

    def _climbed(self, found: Ranked, worth_of: Callable[[EncodedRecipes], Floats]) -> Ranked:
        """With the neighbours of the best, those of the better ones among them, and so on."""
        climbed: set[tuple[int, ...]] = set()
        for _ in range(MAX_CLIMBS):
            new = [code for code in found.codes[:N_CLIMBERS] if tuple(code) not in climbed]
            if not new:
                break
            climbed |= {tuple(code) for code in new}
            near = self._kernel.encode(self._grid.neighbours(np.array(new)))
            found = found.joined(near.codes, worth_of(near))
        return found

    def _candidates(self, best_first: Codes, rng: np.random.Generator) -> EncodedRecipes:
        """All recipes of a small space; of a large one some, and the neighbours of the best."""
        if self._whole is not None:
            return self._whole
        near = self._grid.neighbours(best_first[:N_INCUMBENTS])
        drawn = self._grid.sample(rng, N_CANDIDATES - min(len(near), N_CANDIDATES // 2))
        return self._kernel.encode(self._grid.unique(np.concatenate([near, drawn])))

    def _allowed_gain(self, observed: Observations, known: EncodedRecipes, means: Floats) -> GainOf:
        """Expected improvement times the probability that no guard is below its floor.

        Args:
            observed: trials whose ends are known.
            known: recipes that the first target's model knows.
            means: what it thinks of them.
        """
        guards = list(self._guard_models(observed))

        def reached(recipes: EncodedRecipes) -> Floats:
            found = np.ones(len(recipes.codes))
            for model, least in guards:
                mean, deviation = model.predict(recipes)
                found *= ndtr((mean - least[recipes.codes[:, self._pair]]) / deviation)
            return found

        allowed = means[reached(known) >= 0.5]

        def gain_of(
            recipes: EncodedRecipes, pending: EncodedRecipes | None, mean: Floats, deviation: Floats
        ) -> Floats:
            found = reached(recipes)
            if len(allowed):
                found = found * expected_improvement(mean, deviation, float(allowed.max()))
            return found

        return gain_of

    def _guard_models(self, observed: Observations) -> Iterator[tuple[Posterior, Floats]]:
        """Of each guard that some trial has missed, a model and the floor for each pair."""
        ended = [record for record in self._trials if record.split == "search"]
        for target in self._guards:
            floor = Floor.of(target, ended, self._schedule.tolerance)
            known = observed.only(partial(_guarded, target=target))
            if not floor.known or all(floor.reached(r) for r in known.records):
                continue
            least = np.array(
                [
                    floor.least(LayerSwap(*pair_of(name), 0, 0, 0, 0).lang_source)
                    for name in self._grid.axes[self._pair].values
                ]
            )
            known, model = self._model(known, target)
            items = float(np.median([_items(r, target) for r in known.records]))
            low, high = _span(known.records, target)
            inside = np.clip((target.gain(1.0) * least - low) / (high - low), 0.0, 1.0)
            yield model, _scale(target, target.gain(1.0) * inside, items)

    def _front_gain(self, known: Observations, rng: np.random.Generator) -> GainOf:
        """How much each recipe is expected to add to the front of the first two targets."""
        other = targets.TARGETS[1]
        both, model = self._model(known.only(partial(_has, target=other)), other)
        points = np.column_stack([_scores(both.records, t)[0] for t in targets.TARGETS[:2]])

        def gain_of(
            recipes: EncodedRecipes, pending: EncodedRecipes | None, mean: Floats, deviation: Floats
        ) -> Floats:
            found = (mean, deviation), model.predict(recipes, pending)
            draws = [m + d * rng.standard_normal((MC_SAMPLES, 1)) for m, d in found]
            return hypervolume_gain(points, np.array(draws))

        return gain_of

    def _model(self, observed: Observations, target: Target) -> tuple[Observations, Posterior]:
        """What some trials say of all recipes, and those of them that the model knows."""
        known, hyperparameters = (
            subsample(observed, target),
            self._hyperparameters(observed, target),
        )
        values, items = _scores(known.records, target)
        recipes = self._kernel.encode(known.codes)
        return known, Posterior(
            self._kernel, hyperparameters, recipes, values, noise_variance(items)
        )

    def _hyperparameters(self, observed: Observations, target: Target) -> Hyperparameters:
        """How far likeness reaches, by the first so many trials; looked for anew now and then."""
        n = len(observed.records)
        fitted = n - n % max(1, n // REFIT_DIVISOR)
        if self._fitted.get(target.score, (0, None))[0] != fitted:
            order = sorted(
                range(n), key=lambda i: (_place(observed.records[i]), observed.records[i].key)
            )
            spread = np.linspace(0, fitted - 1, min(fitted, MAX_FIT_OBSERVATIONS)).astype(int)
            some = observed.at([order[i] for i in spread])
            values, items = _scores(some.records, target)
            recipes = self._kernel.encode(some.codes)
            found = fit_hyperparameters(self._kernel, recipes, values, noise_variance(items))
            self._fitted[target.score] = fitted, found
        return self._fitted[target.score][1]


def falling(codes: Codes, worth: Floats) -> Ranked:
    """Recipes by what they are worth."""
    order = np.argsort(-worth, kind="stable")
    return Ranked(codes[order], worth[order])


def subsample(observed: Observations, target: Target) -> Observations:
    """What the model knows of a long study."""
    if len(observed.records) <= MAX_OBSERVATIONS:
        return observed
    places = list(map(_place, observed.records))
    latest = sorted(range(len(places)), key=lambda i: -places[i])[: MAX_OBSERVATIONS // 2]
    older = set(range(len(places))) - set(latest)
    best = sorted(older, key=lambda i: (-gain(observed.records[i], target), i))[
        : MAX_OBSERVATIONS // 2
    ]
    return observed.at(sorted([*latest, *best]))


def _place(record: Record) -> int:
    return -1 if record.place is None else record.place


def _guarded(record: Record, target: Target) -> bool:
    return record.state == "infeasible" or _has(record, target)


def _has(record: Record, target: Target) -> bool:
    return record.value(target.score) is not None


def _scores(records: Sequence[Record], target: Target) -> tuple[Floats, Floats]:
    """Scores as the model sees them, of those that are infeasible the worst there is; items."""
    worst = 0.0 if target.direction == "maximize" else 1.0
    low, high = _span(records, target)
    shares = [
        worst if (found := believed(r, target)) is None else (found - low) / (high - low)
        for r in records
    ]
    items = np.array([_items(record, target) for record in records], dtype=np.float64)
    return _scale(target, target.gain(1.0) * np.array(shares), items), items


def _span(records: Sequence[Record], target: Target) -> tuple[float, float]:
    """Between which values a target's scores lie: shares in [0, 1], others where they were seen."""
    if target.kind in ("share", "lcpr"):
        return 0.0, 1.0
    known = [found for r in records if (found := believed(r, target)) is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    margin = 0.1 * (high - low) or 1.0
    return low - margin, high + margin


def _scale(target: Target, gains: Floats, items: Floats | float) -> Floats:
    """Gains on the scale on which noise is even; where less is better, below 0."""
    return np.asarray(target.gain(1.0) * arcsine(target.gain(1.0) * gains, items))


def _items(record: Record, target: Target) -> int:
    score = record.scores.get(target.score)
    return max(1, score.n_scored) if score is not None else 1


def _distribution(axis: Axis) -> BaseDistribution:
    """As the space suggests it: Optuna takes a value only for an equal distribution."""
    if axis.kind == "layers":
        return IntDistribution(axis.values[0], axis.values[-1])
    if axis.kind == "amount":
        step = axis.values[1] - axis.values[0] if len(axis.values) > 1 else None
        return FloatDistribution(axis.values[0], axis.values[-1], step=step)
    return CategoricalDistribution(axis.values)
