"""What becomes of a trial whose engine let go of it: recorded, tried again, waited for, dropped.

Pure: `judge` is a function of what is known, tested as a table of rows. Counting failures in a row
is `search.study.retries`'s; acting on a fate is `search.study.dispatcher`'s.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Literal

from objectives.words import counted
from search.study.outcome import ActorExit, TrialOutcome
from search.study.retries import ENGINES

SURE_SECONDS = 30.0
"""After that long a node that is not known to be dead lives: Ray notices a death within 20 s."""

Losses = tuple[str | None, ...]
"""For each engine that died under a trial, its node; None if the trial had not begun."""


@dataclass(frozen=True)
class Known:
    """What is known of a trial when its fate is asked for.

    Attributes:
        outcome: what its actor reported; None if the actor died untold.
        exit: how the actor ended.
        losses: engines that died under the trial, this one included where it did.
        dead: ids of the nodes that the cluster has lost.
        excluded: nodes that were excluded since the trial was handed out: it could not keep off.
        n_dead: how many nodes had been lost when it was handed out.
        stopping: whether everything is being ended.
        waited: seconds since its last engine died.
    """

    outcome: TrialOutcome | None
    exit: ActorExit
    losses: Losses = ()
    dead: Set[str] = frozenset()
    excluded: Set[str] = frozenset()
    n_dead: int = 0
    stopping: bool = False
    waited: float = 0.0


@dataclass(frozen=True)
class Fate:
    """What becomes of a trial.

    Attributes:
        verdict: `record` its outcome; hand it out `again`; `wait` until it is known whether its
            node died; `drop` it, as it was killed in order.
        outcome: what is recorded.
        node: the node whose success or failure a recorded trial is; None if it says nothing of one.
        losses: engines that died under it and still count.
        unstarted: whether its engine's process failed to start, on a node that lives.
    """

    verdict: Literal["record", "again", "wait", "drop"]
    outcome: TrialOutcome | None = None
    node: str | None = None
    losses: Losses = ()
    unstarted: bool = False


def judge(known: Known) -> Fate:
    """What becomes of a trial.

    A watchdog's end is a failure. One that failed on a node which was excluded meanwhile is handed
    out again. An actor that dies costs one of `ENGINES` engines, unless its node died with it or it
    had not begun; whether the node died is known `SURE_SECONDS` later.
    """
    outcome, limit = known.outcome, known.exit.limit
    if outcome is None and limit is not None:
        reason = f"it took longer than {limit:.0f} s (search.trial_timeout) and was ended"
        outcome = TrialOutcome("failed", reason, "timeout")
    if outcome is not None:
        return _of_outcome(outcome, known)
    if known.stopping:
        return Fate("drop")
    if known.exit.node is None:  # its engine may have been starting on a node that is gone
        return Fate("again", losses=known.losses, unstarted=len(known.dead) <= known.n_dead)
    losses = charged_losses(known.losses, known.dead)
    if len(losses) < ENGINES:
        return Fate("again", losses=losses)
    if known.waited < SURE_SECONDS:
        return Fate("wait", losses=known.losses)
    if said := known.exit.reason:
        died = TrialOutcome("failed", f"on {counted(len(losses), 'engine')}: {said}", "engine")
    else:
        reason = (
            f"the engine's process died {counted(len(losses), 'time')} (killed, or out of memory)"
        )
        died = TrialOutcome("failed", reason, "process")
    died = replace(died, attempts=len(losses))
    return Fate("record", died, losses[-1], losses)


def charged_losses(losses: Losses, dead: Set[str]) -> Losses:
    """The losses that count: not those with the node, nor before the trial began."""
    return tuple(node for node in losses if node is not None and node not in dead)


def _of_outcome(outcome: TrialOutcome, known: Known) -> Fate:
    if outcome.state == "failed" and known.exit.node in known.excluded:
        return Fate("again", losses=known.losses)
    losses = charged_losses(known.losses, known.dead)
    if outcome.state != "failed" or outcome.host:  # else no engine answered
        outcome = replace(outcome, attempts=outcome.attempts + len(losses))
    elif losses:
        outcome = replace(outcome, attempts=len(losses))
    node = None if outcome.cause == "scorer" else known.exit.node  # a scorer fails everywhere
    return Fate("record", outcome, node, losses)
