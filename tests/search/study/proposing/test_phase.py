"""One search: what Optuna is asked and told, and a database that goes away meanwhile."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState

from objectives.types import Score
from search.common.ending import ENDING
from search.common.errors import StudyError
from search.config.secrets import STORAGE_PASSWORD
from search.merging.recipe import Single, key, to_dict
from search.merging.space.proposal import BASELINE
from search.merging.space.swap import make_space
from search.records.record import Record, State, Stopped
from search.study.proposing import phase as phases
from search.study.proposing.phase import Phase, in_order
from search.study.proposing.storage import open_storage
from tests.postgres_server import PASSWORD, PostgresServer
from tests.search.study.proposing.test_optuna_study import Study, ended, recorded
from tests.search.study.test_dispatcher import L, outcome


@pytest.fixture
def phase() -> Phase:
    """A search of its own, in memory."""
    space = make_space(lang="te", n_layers=L, n_task=1, n_lang=1)
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(directions=["maximize"] * 2, sampler=sampler)
    return Phase("search", space, study, 5)


def record(state: State, **shares: float) -> Record:
    scores = {name: Score(share, share, share, 10, 10) for name, share in shares.items()}
    base = Single("base")
    stopped = Stopped(10, 20, 0.6, "best", 0.01) if state == "stopped" else None
    name = key(base, L)
    return Record(0, name, "search", state, "search", "te base", base, scores, stopped=stopped)


@pytest.mark.parametrize(
    ("state", "told", "values"),
    [
        ("scored", TrialState.COMPLETE, [0.4, 0.9]),
        ("stopped", TrialState.COMPLETE, [0.6, 0.9]),  # its estimate, not its first items' share
        ("infeasible", TrialState.FAIL, None),  # it has scores, which are not to be compared
        ("failed", TrialState.FAIL, None),
    ],
)
def test_what_optuna_is_told(
    phase: Phase, state: State, told: TrialState, values: list[float] | None
) -> None:
    proposal = phase.propose(0)
    for _ in range(2):  # told again, where the answer was lost
        proposal.tell(record(state, lcpr=0.9, coverage=0.7, accuracy=0.4))
    (trial,) = phase.study.trials
    assert (trial.state, trial.values) == (told, values)
    assert proposal.key == trial.user_attrs["key"] and proposal.origin == "search"


def test_a_proposal_that_is_dropped(phase: Phase) -> None:
    proposal = phase.propose(0)
    proposal.drop()
    proposal.drop()
    assert [trial.state for trial in phase.study.trials] == [TrialState.FAIL]


def test_values_are_in_the_order_of_the_targets() -> None:
    assert in_order(record("scored", lcpr=0.9, in_language=1.0, accuracy=0.4)) == [0.4, 0.9]
    assert in_order(record("failed")) is None


def test_a_baseline_is_owed_until_it_is_proposed(phase: Phase) -> None:
    phase.first({"pair": "0-0"})
    assert not phase.owes_baseline()  # it waits, and costs a trial of the budget
    baseline = {BASELINE: json.dumps(to_dict(Single("base")))}
    phase.queue.append(baseline)
    assert phase.owes_baseline()
    found = [phase.propose(0) for _ in range(2)]
    assert [proposal.origin for proposal in found] == ["search", "baseline"]
    assert not phase.owes_baseline()


def test_what_is_wanted_first_is_proposed_next(phase: Phase) -> None:
    phase.propose(0)
    point = phase.unseen(3) or pytest.fail("all seen")
    phase.first(point)
    assert phase.propose(0).trial.params == point


class Away:
    """A call that fails so many times before it answers."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "answer"


def lost() -> StorageInternalError:
    error = StorageInternalError("what Optuna says")
    error.__cause__ = OSError("connection refused\nIs the server running?")
    return error


def test_a_call_is_made_again_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "PAUSE_SECONDS", 0.0)
    call = Away(3, lost())
    assert phases._patiently(call) == "answer" and call.calls == 4


def test_what_is_no_outage_is_raised_at_once() -> None:
    call = Away(1, OSError("the disk is full"))
    with pytest.raises(OSError, match="disk is full"):
        phases._patiently(call)
    assert call.calls == 1


@pytest.mark.parametrize("ending", [False, True])
def test_nobody_waits_for_a_database_that_stays_away(
    monkeypatch: pytest.MonkeyPatch, ending: bool
) -> None:
    """Longer than is set, nor when the search was told to end."""
    monkeypatch.setattr(ENDING, "_told", ending)
    monkeypatch.setattr(phases, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(phases, "AWAY_SECONDS", 60.0 if ending else -1.0)
    call = Away(10**9, lost())
    message = "^Optuna's storage is away: connection refused; start or mend it, then --resume"
    with pytest.raises(StudyError, match=message):
        phases._patiently(call)
    assert call.calls == 1


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresServer]:
    monkeypatch.setenv(STORAGE_PASSWORD, PASSWORD)
    monkeypatch.setattr("search.study.proposing.phase.PAUSE_SECONDS", 0.1)
    with PostgresServer() as server:
        server.start()
        yield server


@pytest.mark.slow
def test_a_database_that_comes_back_costs_nothing(tmp_path: Path, server: PostgresServer) -> None:
    study = Study(tmp_path / "s", server.url, trials=10, rivals={})
    study.end(6)
    running = study.ask() or pytest.fail("nothing proposed")
    server.stop()
    later = threading.Timer(1.0, server.start)
    later.start()
    study.searcher.on_trial_complete(running[0], {"outcome": outcome()})
    later.join()
    server.stop()
    later = threading.Timer(1.0, server.start)
    later.start()
    study.run()
    later.join()
    assert study.dispatcher.fault is None and len(study.records.trials) == 14
    assert ended(study.study) == recorded(study.records, "search", "baseline")


@pytest.mark.slow
def test_a_database_that_stays_away_ends_the_search(
    tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order: what ended is in the records, and Optuna knows it when it is there again."""
    monkeypatch.setattr("search.study.proposing.phase.AWAY_SECONDS", 0.5)
    first = Study(tmp_path / "s", server.url, trials=7)
    first.end(4)
    running = first.ask() or pytest.fail("nothing proposed")
    server.stop()
    first.searcher.on_trial_complete(running[0], {"outcome": outcome()})
    fault = str(first.dispatcher.fault)
    assert "Optuna's storage is away" in fault and "--resume the study" in fault
    assert PASSWORD not in fault and "\n" not in fault
    assert len(first.records.trials) == 5 and first.ask() is None
    first.records.close()
    with pytest.raises(StudyError, match=r"postgresql://searcher:\*\*\*@.* cannot be used: "):
        open_storage(server.url, tmp_path)

    server.start()
    second = Study(tmp_path / "s", server.url, trials=7)
    search = second.phases[0]
    assert ended(search.study) == recorded(second.records, "search", "baseline")
    second.run()
    counts = Counter(r.origin for r in second.records.trials)
    assert counts == {"baseline": 2, "search": 7, "ties": 3, "final": 2}
