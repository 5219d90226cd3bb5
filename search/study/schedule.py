"""How a study runs: what its Optuna side and its Ray side both ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LAG = 2
"""Lag in multiples of the engines, where there are several: with 1 they wait for each other, with 2
hardly ever (`benchmarks.idle`)."""
REPRODUCIBLE = 8
"""Up to this many engines a study is reproducible where the user says nothing."""


def knows(place: int | None, own: int, lag: int) -> bool:
    """Whether proposal `own` may know the end of the trial at a place.

    Args:
        place: of the trial; None: it was scored before there were places.
        own: place of the proposal.
        lag: as `Schedule.lag`.
    """
    return lag == 0 or place is None or place <= own - lag


@dataclass(frozen=True)
class Schedule:
    """How a study runs; `search.config.schema.SearchConfig` says what each field means."""

    name: str
    trials: int
    baselines: Mapping[str, int]
    seed: int
    sampler: str
    startup_trials: int
    engines: int | None
    cpus_per_engine: float
    gpus_per_engine: float
    address: str | None
    storage: str | None
    trial_timeout: float | None
    reproducible: bool | None
    tolerance: float

    @classmethod
    def of(cls, name: str, config: object) -> Schedule:
        """The schedule that a configuration's `search` part says; a dump would hide passwords."""
        fields = cls.__dataclass_fields__.keys() - {"name"}
        return cls(name, **{field: getattr(config, field) for field in fields})

    def knows(self, place: int | None, own: int) -> bool:
        """As `knows`, with this schedule's lag."""
        return knows(place, own, self.lag)

    @property
    def placing(self) -> tuple[object, ...]:
        """What engines of two studies have in common where one study's can serve the other."""
        return self.cpus_per_engine, self.gpus_per_engine, self.address

    @property
    def lag(self) -> int:
        """k: proposal i is made from the trials up to i - k only; 0: from all that have ended."""
        if self.engines is None or self.reproducible is False:
            return 0
        if self.reproducible is None and self.engines > REPRODUCIBLE:
            return 0
        return self.engines if self.engines == 1 else LAG * self.engines
