"""What becomes of a trial, row by row."""

from __future__ import annotations

import pytest

from search.study.fate import SURE_SECONDS, Fate, Known, charged_losses, judge
from search.study.outcome import ActorExit, TrialOutcome
from search.study.retries import ENGINES

SCORED = TrialOutcome("scored", host="h:1")
INFEASIBLE = TrialOutcome("infeasible", "NaN", host="h:1")
BURNT = TrialOutcome("failed", "burnt", "engine", attempts=2, host="h:1")
UNANSWERED = TrialOutcome("failed", "burnt", "engine")
SCORER = TrialOutcome("failed", "no such item", "scorer", host="h:1")
A, NOWHERE = ActorExit("a"), ActorExit(None)
FAILED = ActorExit("a", reason="CUDA error")
LATE = SURE_SECONDS


@pytest.mark.parametrize(
    ("known", "verdict", "attempts", "node", "losses"),
    [
        # it ended: recorded, whatever happens to the cluster
        (Known(SCORED, A), "record", 1, "a", ()),
        (Known(INFEASIBLE, A), "record", 1, "a", ()),
        (Known(BURNT, A), "record", 2, "a", ()),
        (Known(SCORED, A, stopping=True), "record", 1, "a", ()),
        (Known(SCORED, NOWHERE), "record", 1, None, ()),
        (Known(SCORED, A, excluded={"a"}), "record", 1, "a", ()),
        # after engines that died: those that count are attempts
        (Known(SCORED, A, losses=("b",)), "record", 2, "a", ("b",)),
        (Known(SCORED, A, losses=("b", None), dead={"b"}), "record", 1, "a", ()),
        (Known(BURNT, A, losses=("b",)), "record", 3, "a", ("b",)),
        (Known(UNANSWERED, A, losses=("b",)), "record", 1, "a", ("b",)),
        # it failed where it could not keep off
        (Known(BURNT, A, excluded={"a"}), "again", 0, None, ()),
        (Known(BURNT, A, excluded={"b"}), "record", 2, "a", ()),
        (Known(BURNT, A, losses=("b",), excluded={"a"}), "again", 0, None, ("b",)),
        # a scorer fails everywhere: no node is to blame
        (Known(SCORER, A), "record", 1, None, ()),
        # the watchdog's end
        (Known(None, ActorExit("a", 7.0), losses=("a",)), "record", 1, "a", ("a",)),
        (Known(None, ActorExit("a", 7.0), excluded={"a"}), "again", 0, None, ()),
        # killed in order
        (Known(None, A, losses=("a",), stopping=True), "drop", 0, None, ()),
        (Known(None, NOWHERE, losses=(None,), stopping=True), "drop", 0, None, ()),
        # its engine's process died
        (Known(None, A, losses=("a",)), "again", 0, None, ("a",)),
        (Known(None, A, losses=("a", "a")), "wait", 0, None, ("a", "a")),
        (Known(None, A, losses=("a", "a"), waited=LATE - 1), "wait", 0, None, ("a", "a")),
        (Known(None, A, losses=("a", "a"), waited=LATE), "record", 2, "a", ("a", "a")),
        (Known(None, A, losses=("b", "a"), waited=LATE), "record", 2, "a", ("b", "a")),
        (Known(None, A, losses=("b", None, "a"), waited=LATE), "record", 2, "a", ("b", "a")),
        # with its node: it costs nothing
        (Known(None, A, losses=("a", "a"), dead={"a"}), "again", 0, None, ()),
        (Known(None, A, losses=("b", "a"), dead={"a"}), "again", 0, None, ("b",)),
        (Known(None, A, losses=("b", "a"), dead={"a"}, waited=LATE), "again", 0, None, ("b",)),
        # its engine failed and took its process with it
        (Known(None, FAILED, losses=("a",)), "again", 0, None, ("a",)),
        (Known(None, FAILED, losses=("b", "a"), dead={"b"}), "again", 0, None, ("a",)),
        (Known(None, FAILED, losses=("a", "a"), waited=LATE), "record", 2, "a", ("a", "a")),
        # its engine was starting
        (Known(None, NOWHERE, losses=(None,)), "again", 0, None, (None,)),
        (Known(None, NOWHERE, losses=("a", None)), "again", 0, None, ("a", None)),
    ],
)
def test_fate(
    known: Known, verdict: str, attempts: int, node: str | None, losses: tuple[str | None, ...]
) -> None:
    found = judge(known)
    assert (found.verdict, found.node, found.losses) == (verdict, node, losses)
    assert (found.outcome.attempts if found.outcome else 0) == attempts


@pytest.mark.parametrize(
    ("dead", "n_dead", "unstarted"),
    [(set(), 0, True), ({"b"}, 1, True), ({"b"}, 0, False), ({"b", "c"}, 1, False)],
)
def test_a_process_that_never_began_fails_unless_a_node_went(
    dead: set[str], n_dead: int, unstarted: bool
) -> None:
    assert judge(Known(None, NOWHERE, dead=dead, n_dead=n_dead)).unstarted is unstarted


@pytest.mark.parametrize(
    ("known", "cause", "reason"),
    [
        (Known(None, ActorExit("a", 7.0)), "timeout", "longer than 7 s (search.trial_timeout)"),
        (Known(None, A, losses=("a",) * ENGINES, waited=LATE), "process", f"died {ENGINES} times"),
        (Known(BURNT, A), "engine", "burnt"),
        (Known(None, FAILED, losses=("a", "a"), waited=LATE), "engine", "2 engines: CUDA error"),
    ],
)
def test_a_failure_says_its_cause(known: Known, cause: str, reason: str) -> None:
    outcome = judge(known).outcome
    assert outcome and outcome.state == "failed" and outcome.cause == cause
    assert reason in outcome.reason


def test_what_is_not_recorded_has_no_outcome() -> None:
    assert judge(Known(None, A, stopping=True)) == Fate("drop")


def test_losses_with_their_node_do_not_count() -> None:
    assert charged_losses(("a", None, "b", "a"), {"b"}) == ("a", "a")
