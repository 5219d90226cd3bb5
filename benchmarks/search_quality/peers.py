"""Optuna's own Gaussian process on the flat form of the space; a second or so for a proposal.

Owns the adapter of a sampler that knows neither conditional spaces nor a second target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from objectives import targets
from search.proposing.model import FlatSampler
from search.space.grid import Axis
from search.space.swap import Space

TRIES = 25
"""Repeated proposals after which an unseen recipe is drawn."""


class Other(FlatSampler):
    """Another sampler's proposals, made in a study of its own with the first target alone."""

    def __init__(self, inner: optuna.samplers.BaseSampler, seed: int, space: Space) -> None:
        """Open the other study.

        Args:
            inner: the sampler.
            seed: of what is drawn where it repeats itself.
            space: what is searched.
        """
        super().__init__(space.grid, seed)
        self._space = space
        direction = targets.TARGETS[0].direction
        self._study = optuna.create_study(direction=direction, sampler=inner)
        varied = [axis for axis in self._grid.axes if len(axis.values) > 1]
        self._own = {axis.name: _by_place(axis) for axis in varied}
        self._asked: dict[int, optuna.Trial] = {}
        self._values: dict[str, float] = {}
        self._rng = np.random.default_rng(seed)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: Mapping[str, BaseDistribution],
    ) -> dict[str, Any]:
        """What the other sampler proposes, until it is new."""
        if "fixed_params" in trial.system_attrs:
            return {}
        for _ in range(TRIES):
            asked = self._study.ask(self._own)
            point = self._point(asked.params)
            name = None if point is None else self._space.key_of(point)
            if point is not None and name not in self._space.seen:
                self._asked[trial.number] = asked
                return point
            value = None if name is None else self._values.get(name)
            self._study.tell(asked, value, TrialState.FAIL if value is None else None)
        unseen = self._space.unseen(int(self._rng.integers(2**31)))
        return {**self._grid.point(self._grid.drawn(self._rng, 50)[0]), **(unseen or {})}

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
            params = self._params(trial.params)
            self._study.add_trial(
                optuna.trial.create_trial(value=value, params=params, distributions=self._own)
            )

    def _point(self, params: Mapping[str, int]) -> dict[str, Any] | None:
        """The recipe of the other study's parameters, its transition layers cut to what fits."""
        code = [params.get(axis.name, axis.unset) for axis in self._grid.axes]
        for name in ("t_u", "t_b"):
            place = [axis.name for axis in self._grid.axes].index(name)
            while not len(self._grid.settle(np.array([code]))) and code[place] > 0:
                code[place] -= 1
        settled = self._grid.settle(np.array([code]))
        return self._grid.point(settled[0]) if len(settled) else None

    def _params(self, point: Mapping[str, Any]) -> dict[str, int]:
        code = self._grid.code(point)
        axes = zip(self._grid.axes, code, strict=True)
        return {axis.name: int(place) for axis, place in axes if axis.name in self._own}


def _by_place(axis: Axis) -> BaseDistribution:
    """The places on an axis: choices where none is like another, else numbers."""
    if axis.kind in ("pair", "choice"):
        return CategoricalDistribution(range(len(axis.values)))
    return IntDistribution(0, len(axis.values) - 1)


def optunas_process(seed: int, space: Space) -> Other:
    """Optuna's Gaussian process on a space."""
    inner = optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)
    return Other(inner, seed, space)
