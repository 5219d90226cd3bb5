"""Optuna's other samplers on the flat form of the space: its Gaussian process and CMA-ES.

Owns the adapter of a sampler that knows neither conditional spaces nor a second target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from benchmarks.search_quality.flat import Flat, is_choice
from objectives import targets
from search.merging.space.contract import SearchSpace
from search.merging.space.grid import Axis
from search.study.proposing.model import FlatSampler

TRIES = 25
"""Repeated proposals after which an unseen recipe is drawn."""


class Other(FlatSampler):
    """Another sampler's proposals, made in a study of its own with the first target alone."""

    def __init__(self, inner: optuna.samplers.BaseSampler, seed: int, space: SearchSpace) -> None:
        """Open the other study.

        Args:
            inner: the sampler.
            seed: of what is drawn where it repeats itself.
            space: what is searched.
        """
        super().__init__(space.grid, seed)
        self._space, self._flat = space, Flat(space)
        direction = targets.TARGETS[0].direction
        self._study = optuna.create_study(direction=direction, sampler=inner)
        self._own = {axis.name: _by_place(axis) for axis in self._flat.varied}
        self._asked: dict[int, optuna.Trial] = {}
        self._values: dict[str, float] = {}
        self._rng = np.random.default_rng(seed)

    def proposed(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        """What the other sampler proposes, until it is new."""
        for _ in range(TRIES):
            asked = self._study.ask(self._own)
            point = self._flat.point(asked.params)
            name = None if point is None else self._space.key_of(point)
            if point is not None and name not in self._space.seen:
                self._asked[trial.number] = asked
                return point
            value = None if name is None else self._values.get(name)
            self._study.tell(asked, value, TrialState.FAIL if value is None else None)
        unseen = self._space.unseen(int(self._rng.integers(2**31)))
        return {**self._grid.point(self._grid.sample(self._rng, 50)[0]), **(unseen or {})}

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Tell the other study, also of trials that it did not propose."""
        value = None if values is None else values[0]
        if value is not None:
            self._values[trial.user_attrs["key"]] = value
        asked = self._asked.pop(trial.number, None)
        if asked is not None:
            self._study.tell(asked, value, state)
        elif value is not None:
            params = self._flat.places(trial.params)
            self._study.add_trial(
                optuna.trial.create_trial(value=value, params=params, distributions=self._own)
            )


def _by_place(axis: Axis) -> BaseDistribution:
    """The places on an axis: choices where none is like another, else numbers."""
    if is_choice(axis):
        return CategoricalDistribution(range(len(axis.values)))
    return IntDistribution(0, len(axis.values) - 1)


def optunas_process(seed: int, space: SearchSpace) -> Other:
    """Optuna's Gaussian process on a space; needs torch."""
    inner = optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)
    return Other(inner, seed, space)


def evolution(seed: int, space: SearchSpace) -> Other:
    """CMA-ES on a space, as mergekit-evolve searches; needs cmaes.

    It moves the numbers; a pair of experts, which is no number, is drawn by chance each time.
    """
    inner = optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    return Other(inner, seed, space)
