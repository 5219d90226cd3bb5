"""Which waiting trial an engine that becomes free takes over, and that it waits if there is none.

Owns that alone. Tune keeps a few trials waiting, so that a cluster can grow: each has asked
for a slot, and Ray gives slots to the oldest first.
"""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from search.study.tuning.watch import Watch

HELD = 10_000
"""Engines that may wait; more than there are."""


class Waiting(FIFOScheduler):
    """The oldest trial first, but not one whose own engine is about to start.

    Tune stops the process that starts for a trial when another engine takes the trial over. If that
    were always the oldest trial, and trials ended faster than a process starts, the slot of an
    engine that died and the slots of new nodes would stay empty.
    """

    def __init__(self, watch: Watch) -> None:
        """Choose by what is known of the cluster's slots."""
        super().__init__()
        self._watch = watch
        self._held: object = None

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The oldest trial that waits, or the newest while the oldest ones get engines."""
        self._hold(tune_controller)
        waiting = [t for t in tune_controller.get_trials() if t.status == Trial.PENDING]
        if not waiting:
            return None
        return waiting[-1 if self._watch.engine_starts() else 0]

    def _hold(self, tune_controller: Any) -> None:
        """Have engines wait where there is no trial for them now; Tune would stop all but one."""
        place = self._watch.placement()
        if place == self._held:
            return
        cache = tune_controller.__dict__["_tune_controller"]._actor_cache  # Ray 2: no setting
        if self._held is not None:
            cache.decrease_max(self._held, HELD)
        cache.increase_max(place, HELD)
        self._held = place
