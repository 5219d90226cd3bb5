"""What TPE knows of a long study: all of it at first, then the best and the latest."""

from __future__ import annotations

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.study.proposing.sampler import BEST, LATEST, LIMIT, Windowed, _chosen


def told(number: int, values: list[float]) -> FrozenTrial:
    x = FloatDistribution(0.0, 1.0)
    trial = create_trial(values=values, params={"x": number / 10_000}, distributions={"x": x})
    trial.number = number
    return trial


class Spy(optuna.samplers.RandomSampler):
    """Draws at random; keeps how many trials it saw of each state at its last proposal."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.seen: dict[TrialState, int] = {}

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        states = [t.state for t in study.get_trials(deepcopy=False)]
        self.seen = {state: states.count(state) for state in set(states)}


def test_the_best_and_the_latest_are_kept() -> None:
    trials = [told(n, [n % 7 / 7, n % 11 / 11]) for n in range(LIMIT)]
    best = told(3, [2.0, 2.0])
    trials[3] = best
    kept = _chosen(trials)
    assert len(kept) == BEST + LATEST and best in kept
    assert kept[-LATEST:] == trials[-LATEST:]
    assert [t.number for t in kept] == sorted(t.number for t in kept)
    front = [t for t in trials[:-LATEST] if t.values == [6 / 7, 10 / 11]]
    assert front and all(t in kept for t in front[:1])


def test_a_long_study_is_seen_in_part() -> None:
    """All trials up to the limit; beyond it no more than that, and those that run are seen."""
    made: list[Spy] = []

    def make(number: int) -> Spy:
        made.append(Spy(number))
        return made[-1]

    study = optuna.create_study(directions=["maximize"] * 2, sampler=Windowed(make, []))
    running = study.ask()
    running.suggest_float("x", 0.0, 1.0)
    for number in range(LIMIT - 1):
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1.0)
        study.tell(trial, [number / LIMIT, 0.5])
    assert len(made) == 1 and made[0].seen[TrialState.COMPLETE] == LIMIT - 2
    study.enqueue_trial({"x": 0.25})  # fixed: the sampler is not asked, but told
    fixed = study.ask()
    assert fixed.suggest_float("x", 0.0, 1.0) == 0.25
    study.tell(fixed, [0.0, 0.0])
    study.ask().suggest_float("x", 0.0, 1.0)
    assert len(made) == 2
    assert made[1].seen[TrialState.COMPLETE] == BEST + LATEST
    study.tell(running, [1.0, 1.0])  # began in the first window
    study.ask().suggest_float("x", 0.0, 1.0)
    assert made[1].seen[TrialState.COMPLETE] == BEST + LATEST + 1
    assert len(study.trials) == LIMIT + 3


def test_a_study_that_goes_on_is_known() -> None:
    spy = Spy(0)
    history = [told(n, [0.5, 0.5]) for n in range(20)]
    study = optuna.create_study(directions=["maximize"] * 2)
    study.sampler = Windowed(lambda _: spy, history)
    study.ask().suggest_float("x", 0.0, 1.0)
    assert spy.seen[TrialState.COMPLETE] == 20
