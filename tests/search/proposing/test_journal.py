"""Optuna's journal after a crash, and what it remembers of waiting trials."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial

from search.proposing.journal import WAITING, open_journal


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
    (tmp_path / "optuna.journal.lock").touch()
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
