"""Which waiting trial an engine that becomes free takes over.

Owns that choice alone. Tune keeps a few trials waiting, so that a cluster can grow: each has asked
for a place, and Ray gives places to the oldest first.
"""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from search.study.tuning.watch import Watch


class Waiting(FIFOScheduler):
    """The oldest trial first, but not one whose own engine is about to start.

    Tune stops the process that starts for a trial when another engine takes the trial over. If that
    were always the oldest trial, and trials ended faster than a process starts, the place of an
    engine that died and the places of new nodes would stay empty.
    """

    def __init__(self, watch: Watch) -> None:
        """Choose by what is known of the cluster's places."""
        super().__init__()
        self._watch = watch

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The oldest trial that waits, or the newest while the oldest ones get engines."""
        waiting = [t for t in tune_controller.get_trials() if t.status == Trial.PENDING]
        if not waiting:
            return None
        return waiting[-1 if self._watch.engine_starts() else 0]
