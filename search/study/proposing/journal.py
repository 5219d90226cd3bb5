"""Optuna's journal in a study's folder.

Owns what is done about one that a crash cut off, and that asking for a proposal costs the same in a
long study as in a short one. Knows nothing of the records, from which it can be made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Container
from pathlib import Path
from typing import BinaryIO

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

WAITING = (TrialState.WAITING,)


def open_journal(file: Path) -> JournalStorage:
    """The journal, after what a killed driver left: its lock, half a line."""
    for lock in file.parent.glob(f"{file.name}.lock*"):  # renamed before it is removed
        lock.unlink()  # whoever held it is dead
    if file.exists():
        _cut(file)
    try:
        return Journal(JournalFileBackend(str(file)))
    except Exception:  # whatever Optuna makes of its lines: it is made again from the records
        os.replace(file, file.with_name(f"{file.name}.broken"))
        return Journal(JournalFileBackend(str(file)))


class Journal(JournalStorage):
    """A journal that one process writes, which knows when no trial of a study waits.

    Before each proposal Optuna looks through all trials for one that waits.
    """

    def __init__(self, backend: JournalFileBackend) -> None:
        """Read what is there."""
        super().__init__(backend)
        self._none_waits: set[int] = set()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """As the base class; a trial that is enqueued comes with a template."""
        if template_trial is not None:
            self._none_waits.discard(study_id)
        return super().create_new_trial(study_id, template_trial)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """As the base class."""
        if states == WAITING and study_id in self._none_waits:
            return []
        found = super().get_all_trials(study_id, deepcopy, states)
        if states == WAITING and not found:
            self._none_waits.add(study_id)
        return found


def _cut(file: Path) -> None:
    """Remove a last line without an end, or that is no JSON: after it no line could be read."""
    with file.open("r+b") as opened:
        end = opened.seek(0, os.SEEK_END)
        whole = _after_newline(opened, end)
        last = _after_newline(opened, max(whole - 1, 0))
        opened.seek(last)
        try:
            json.loads(opened.read(whole - last) or b"0")
        except ValueError:
            whole = last
        if whole < end:
            opened.truncate(whole)


def _after_newline(opened: BinaryIO, end: int) -> int:
    """Where the line begins that `end` lies in: after the last newline before it, or 0."""
    while end > 0:
        start = max(0, end - 65536)
        opened.seek(start)
        found = opened.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
