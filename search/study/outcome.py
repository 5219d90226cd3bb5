"""What a trial found, and how its actor ended: plain data that travels to the driver.

Owns these two shapes. What becomes of the trial is `search.study.fate`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from objectives.types import Score
from search.records.record import Cause, State, Stopped


@dataclass(frozen=True)
class TrialOutcome:
    """What a trial found; fields as in `search.records.record.Record`.

    Attributes:
        state: how it ended.
        reason: why it is infeasible, stopped or failed.
        cause: what made it fail; empty unless it failed.
        scores: score name -> score.
        seconds: `materialise`, `generate`, `score`, `total`, in seconds.
        tokens: tokens generated.
        written: bytes of merged tensors written.
        layers: layers rewritten.
        attempts: engines that this actor used for it.
        host: host name and process of the engine.
        note: what of the answers was left out.
        stopped: when and why it was stopped; None unless it was.
        items: packed per-item answers, see `search.records.items.pack_items`.
    """

    state: State
    reason: str = ""
    cause: Cause = ""
    scores: Mapping[str, Score] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    tokens: int = 0
    written: int = 0
    layers: int = 0
    attempts: int = 1
    host: str = ""
    note: str = ""
    stopped: Stopped | None = None
    items: bytes = field(default=b"", repr=False)  # Tune formats results that it never prints


@dataclass(frozen=True)
class ActorExit:
    """What is known of a trial's actor when the trial ended, or when the actor did.

    Attributes:
        node: id of the node that it ran on; None if it never began.
        limit: the seconds after which the watchdog ended it, if it did.
        reason: what its engine failed of, where it said so and ended for that; empty otherwise.
    """

    node: str | None
    limit: float | None = None
    reason: str = ""
