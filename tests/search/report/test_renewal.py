"""The report while a study runs: renewed, and never a harm to the search."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from search.records.reader import RecordsReader
from search.report import renewal
from search.report.renewal import Renewal
from tests.search.results.studies import BEST, add, begin


def test_it_is_renewed_when_trials_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "EVERY", 0.01)
    records, seen, made = begin(tmp_path / "s"), [], threading.Event()

    def make(now: RecordsReader, folder: Path) -> str:
        seen.append(len(now.trials))
        made.set()
        return f"{len(now.trials)} trials"

    thread = Renewal(records, records.folder, make)
    thread.start()
    assert not made.wait(0.1)  # nothing to report
    for count in (1, 2):
        made.clear()
        add(records, BEST, 0.5, "search" if count == 1 else "held_out")
        assert made.wait(30)
    thread.stop()
    assert seen == [1, 2]


def test_a_fault_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(renewal, "EVERY", 0.01)
    monkeypatch.setattr(renewal, "SHARE", 1.0)
    records, tried = begin(tmp_path / "s"), threading.Semaphore(0)

    def make(now: RecordsReader, folder: Path) -> str:
        tried.release()
        raise ZeroDivisionError("no plot")

    thread = Renewal(records, records.folder, make)
    with caplog.at_level(logging.WARNING):
        thread.start()
        for split in ("search", "held_out"):
            add(records, BEST, 0.5, split)  # type: ignore[arg-type]
            assert tried.acquire(timeout=30)
        thread.stop()
    assert caplog.text.count("report.html is not renewed: ZeroDivisionError: no plot") == 1
    assert not (records.folder / "report.html").exists()


def test_one_that_is_being_made_when_it_ends_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "EVERY", 0.01)
    records, begun, go = begin(tmp_path / "s"), threading.Event(), threading.Event()

    def make(now: RecordsReader, folder: Path) -> str:
        begun.set()
        go.wait(30)
        return "late"

    thread = Renewal(records, records.folder, make)
    thread.start()
    add(records, BEST, 0.5, "search")
    assert begun.wait(30)
    monkeypatch.setattr(renewal, "LAST", 0.01)
    thread.stop()
    go.set()
    thread._thread.join(30)
    assert not (records.folder / "report.html").exists()
