"""What others search with, on the flat form of the space.

Owns the adapter of Optuna's samplers that know no conditional spaces; its Gaussian process takes a
second or so for a proposal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from objectives import targets
from search.proposing.model import distribution
from search.records.record import Record
from search.space.swap import Space
from search.study.schedule import Schedule

Inner = Callable[[int], optuna.samplers.BaseSampler]
"""Seed -> a sampler of Optuna."""
TRIES = 25
"""Repeated proposals after which an unseen recipe is drawn."""


class Flat(optuna.samplers.BaseSampler):
    """Another sampler's proposals, made in a study of its own on the flat form of the space."""

    def __init__(
        self, inner: Inner, seed: int, space: Space, targets_known: int, numeric: bool
    ) -> None:
        """Open the other study.

        Args:
            inner: the sampler.
            seed: its seed.
            space: what is searched.
            targets_known: 1 where the sampler knows one target only, the first.
            numeric: whether choices are given as whole numbers.
        """
        self._space, self._grid, self._known, self._numeric = (
            space,
            space.grid,
            targets_known,
            numeric,
        )
        directions = [target.direction for target in targets.TARGETS[:targets_known]]
        self._study = optuna.create_study(directions=directions, sampler=inner(seed))
        self._own = {
            axis.name: self._distribution(axis) for axis in self._grid.axes if len(axis.values) > 1
        }
        self._asked: dict[int, optuna.Trial] = {}
        self._values: dict[str, list[float]] = {}
        self._rng = np.random.default_rng(seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Every parameter of the flat form."""
        return {axis.name: distribution(axis) for axis in self._grid.axes}

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
            if point is None:
                self._study.tell(asked, state=TrialState.FAIL)
                continue
            name = self._space.key_of(point)
            if name not in self._space.seen:
                self._asked[trial.number] = asked
                return point
            if name in self._values:
                self._study.tell(asked, self._values[name])
            else:
                self._study.tell(asked, state=TrialState.FAIL)
        unseen = self._space.unseen(int(self._rng.integers(2**31)))
        return {**self._grid.point(self._grid.drawn(self._rng, 50)[0]), **(unseen or {})}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """What a fixed trial leaves open."""
        by_chance = optuna.samplers.RandomSampler(seed=trial.number)
        return by_chance.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Tell the other study, also of trials that it did not propose."""
        own = None if values is None else list(values[: self._known])
        if own is not None:
            self._values[trial.user_attrs["key"]] = own
        asked = self._asked.pop(trial.number, None)
        if asked is not None:
            self._study.tell(asked, own, state)
        elif own is not None:
            params = self._params(trial.params)
            self._study.add_trial(
                optuna.trial.create_trial(values=own, params=params, distributions=self._own)
            )

    def _distribution(self, axis: Any) -> BaseDistribution:
        if axis.kind == "layers" or (self._numeric and axis.kind in ("pair", "choice")):
            return IntDistribution(0, len(axis.values) - 1)
        if axis.kind in ("pair", "choice"):
            return CategoricalDistribution(range(len(axis.values)))
        return IntDistribution(0, len(axis.values) - 1)

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


def _gp(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)


ADAPTERS: dict[str, tuple[Inner, int, bool]] = {
    "gp": (_gp, 1, False),
}
"""Name -> sampler, targets that it knows, whether it wants choices as numbers."""


def maker(
    name: str,
) -> Callable[[Schedule, optuna.Study, Space, Sequence[Record]], optuna.samplers.BaseSampler]:
    """The sampler of a name, for `replay`."""
    inner, known, numeric = ADAPTERS[name]
    return lambda schedule, study, space, trials: Flat(inner, schedule.seed, space, known, numeric)
