"""The sampler of a study, and how much of a long study it looks at.

TPE weighs every trial that it knows for each proposal, so a study of thousands would wait for it.
Here it knows the best trials and the latest ones, in a small study of its own. Knows nothing of Ray
or of the records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from objectives import targets
from objectives.target import Target
from search.merging.space.contract import SearchSpace
from search.records.record import Record
from search.study.proposing.model import ModelSampler
from search.study.schedule import Schedule

BEST, LATEST = 100, 200
"""Trials that TPE knows after it has forgotten others; it models the 25 best as good ones."""
LIMIT = 500
"""Trials that it knows before it forgets some."""


def make_sampler(
    schedule: Schedule,
    study: optuna.Study,
    space: SearchSpace,
    trials: Sequence[Record],
    guards: Sequence[Target],
) -> optuna.samplers.BaseSampler:
    """The sampler that a schedule names.

    After a resume the seed of one of Optuna's moves on, or it would draw the same points again.

    Args:
        schedule: how the study runs.
        study: Optuna's, with the targets' directions; what it holds is known to the sampler.
        space: what is searched.
        trials: the study's records, which grow.
        guards: targets that may not fall below their floors.
    """
    if schedule.sampler in ("gp", "gp_pareto"):
        return ModelSampler(space, trials, schedule, guards)
    told = study.get_trials(deepcopy=False)
    seed = schedule.seed + len(told)
    if schedule.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if schedule.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed)

    def tpe(window: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.TPESampler(
            multivariate=True,
            group=True,
            seed=seed + window,
            n_startup_trials=schedule.startup_trials,
            constant_liar=schedule.engines != 1,
        )

    return Windowed(tpe, [trial for trial in told if trial.state == TrialState.COMPLETE])


class Windowed(optuna.samplers.BaseSampler):
    """A sampler that looks at the best and the latest trials only, for any targets.

    All of a study's trials until there are `LIMIT`.
    """

    def __init__(
        self, make: Callable[[int], optuna.samplers.BaseSampler], told: Sequence[FrozenTrial]
    ) -> None:
        """Begin with the complete trials that a study holds.

        Args:
            make: a new sampler, given how many there were before it.
            told: complete trials, in their order.
        """
        self._make = make
        self._made = 0
        self._numbers: dict[int, int] = {}  # a trial's number in the study -> in the window
        self._now: tuple[int, Trial] | None = None
        self._window = self._open(told)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Nothing: the window's sampler does that."""
        return {}

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: Mapping[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Nothing either."""
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """What the window's sampler proposes for this parameter of this trial."""
        if self._now is None or self._now[0] != trial.number:
            if self._known >= LIMIT:
                self._forget()
            self._now = trial.number, self._window.ask()
            self._numbers[trial.number] = self._now[1].number
        return _suggest(self._now[1], param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Tell the window's sampler, also of trials whose parameters were fixed."""
        number = self._numbers.pop(trial.number, None)
        self._known += state == TrialState.COMPLETE
        if number is not None:
            self._window.tell(number, values, state)
        elif state == TrialState.COMPLETE:
            self._window.add_trial(_copy(trial, state, values))

    def _open(self, trials: Sequence[FrozenTrial]) -> optuna.Study:
        sampler = self._make(self._made)
        self._made += 1
        window = optuna.create_study(
            directions=[t.direction for t in targets.TARGETS], sampler=sampler
        )
        kept = _chosen(trials) if len(trials) >= LIMIT else trials
        self._known = len(kept)
        for trial in kept:
            window.add_trial(_copy(trial, trial.state, trial.values))
        return window

    def _forget(self) -> None:
        """Open a window on fewer trials; what runs is in it."""
        known = self._window.get_trials(deepcopy=False)
        self._window = self._open([t for t in known if t.state == TrialState.COMPLETE])
        for place, (number, old) in enumerate(list(self._numbers.items()), start=self._known):
            self._window.add_trial(_copy(known[old], TrialState.RUNNING, None))
            self._numbers[number] = place


def _chosen(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The best and the latest, in their order."""
    latest, older = trials[-LATEST:], trials[:-LATEST]
    best: list[FrozenTrial] = []
    left = sorted(older, key=_gains, reverse=True)
    while left and len(best) < BEST:  # one Pareto front after another
        front: list[FrozenTrial] = []
        rest: list[FrozenTrial] = []
        for trial in left:  # none that comes later can be better in all
            own = _gains(trial)
            beaten = any(all(x >= y for x, y in zip(_gains(o), own, strict=True)) for o in front)
            (rest if beaten else front).append(trial)
        best, left = best + front, rest
    return [*sorted(best[:BEST], key=lambda trial: trial.number), *latest]


def _gains(trial: FrozenTrial) -> tuple[float, ...]:
    return tuple(t.gain(v) for t, v in zip(targets.TARGETS, trial.values, strict=True))


def _copy(trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> FrozenTrial:
    return create_trial(
        state=state, values=values, params=trial.params, distributions=trial.distributions
    )


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(name, choices)
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(name, low, high, step=step, log=log)
        case FloatDistribution(low=start, high=end, step=width, log=log):
            return trial.suggest_float(name, start, end, step=width, log=log)
    raise TypeError(f"{name}: no sampler for {distribution}")
