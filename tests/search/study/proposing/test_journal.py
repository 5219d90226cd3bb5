"""Optuna's journal after a crash, and what it remembers of waiting trials."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial

from search.study.proposing.journal import WAITING, open_journal
from tests.any_json import with_one_changed, written


def study(file: Path) -> optuna.Study:
    storage = open_journal(file)
    return optuna.create_study(storage=storage, study_name="s", load_if_exists=True)


@pytest.mark.parametrize(("rest", "left"), [(b"", 2), (b'{"op_code": 5', 2), (b"\xff" * 70_000, 2)])
def test_half_a_line_is_cut_off(tmp_path: Path, rest: bytes, left: int) -> None:
    file = tmp_path / "optuna.journal"
    for value in (1.0, 2.0):
        first = study(file)
        first.tell(first.ask(), value)
    with file.open("ab") as opened:
        opened.write(rest)
    (tmp_path / "optuna.journal.lock").symlink_to(file)
    (tmp_path / "optuna.journal.lock1f0c.rename").symlink_to(file)
    again = study(file)
    assert [trial.values for trial in again.trials] == [[1.0], [2.0]]
    again.tell(again.ask(), 3.0)
    assert len(study(file).trials) == 3


def test_one_that_cannot_be_read_is_put_aside(tmp_path: Path) -> None:
    file = tmp_path / "optuna.journal"
    nonsense = b'{"op_code": 99}\n[]\n[]\n'
    file.write_bytes(nonsense)
    assert study(file).trials == []
    assert (tmp_path / "optuna.journal.broken").read_bytes() == nonsense


LINES = [
    {"op_code": 0, "worker_id": "w", "study_name": "s", "directions": [1]},
    {"op_code": 4, "worker_id": "w", "study_id": 0, "datetime_start": "2026-01-01T00:00:00.000000"},
    {
        **{"op_code": 5, "worker_id": "w", "trial_id": 0, "param_name": "x"},
        "param_value_internal": 1.0,
        "distribution": '{"name": "IntDistribution", "attributes": {"log": false, "step": 1, '
        '"low": 0, "high": 9}}',
    },
    {"op_code": 8, "worker_id": "w", "trial_id": 0, "user_attr": {"key": "a"}},
    {
        **{"op_code": 6, "worker_id": "w", "trial_id": 0, "state": 1, "values": [0.5]},
        "datetime_complete": "2026-01-01T00:00:01.000000",
    },
]


@given(with_one_changed(LINES))
def test_lines_of_any_shape_are_read_or_put_aside(
    tmp_path_factory: pytest.TempPathFactory, lines: Any
) -> None:
    file = tmp_path_factory.getbasetemp() / "optuna.journal"
    rows = lines if isinstance(lines, list) else [lines]
    file.write_bytes(b"".join(written(row) + b"\n" for row in rows))
    storage = open_journal(file)
    assert len(storage.get_all_studies()) <= 1


def test_those_lines_are_a_study_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "optuna.journal").write_bytes(b"".join(written(row) + b"\n" for row in LINES))
    (trial,) = study(tmp_path / "optuna.journal").trials
    assert (trial.values, trial.params, trial.user_attrs) == ([0.5], {"x": 1}, {"key": "a"})


def test_a_trial_that_is_enqueued_later_is_found(tmp_path: Path) -> None:
    found = study(tmp_path / "optuna.journal")
    assert found.get_trials(states=WAITING) == []
    found.enqueue_trial({"x": 1})
    assert len(found.get_trials(states=WAITING)) == 1
    assert found.ask().suggest_int("x", 0, 9) == 1
    assert found.get_trials(states=WAITING) == []


def test_a_long_study_is_not_looked_through_for_every_proposal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal knows that no trial waits, until one is enqueued."""
    looks = Counter[str]()
    whole = JournalStorage.get_all_trials

    def look(self: JournalStorage, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        looks["all"] += 1
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(JournalStorage, "get_all_trials", look)
    study = optuna.create_study(storage=open_journal(tmp_path / "j"))
    study.enqueue_trial({"x": 1})
    before = looks["all"]
    asked = [study.ask() for _ in range(10)]
    assert asked[0].suggest_int("x", 0, 9) == 1
    assert looks["all"] == before + 2  # the one that waited, and that there is none left
    study.enqueue_trial({"x": 7})
    assert study.ask().suggest_int("x", 0, 9) == 7
