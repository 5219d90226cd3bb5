"""A study's page in MLflow: found, opened, and left as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import pytest

from search import ui
from search.errors import StudyError
from search.records.writer import RecordsWriter
from tests.search.tracking.sent import HEAD, poor_base, trial


def study(folder: Path, name: str) -> Path:
    records = RecordsWriter.create(folder / name, replace(HEAD, id=name))
    for record in (trial(1), trial(2, "failed"), poor_base(3)):
        records.append(record)
    records.close()
    return folder / name


def test_the_newest_study_unless_one_is_named(tmp_path: Path) -> None:
    old, new = study(tmp_path, "z"), study(tmp_path, "a")
    for name in ("study.yaml", "trials.jsonl"):
        os.utime(old / name, (1, 1))
    assert ui.newest(tmp_path) == new
    assert ui.newest(old) == old
    (tmp_path / "none").mkdir()
    with pytest.raises(StudyError, match=r"none holds no study: name one"):
        ui.newest(tmp_path / "none")


def test_what_cannot_be_shown_is_one_error(
    tmp_path: Path, port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(ui, "PORT", port)
    folder = str(study(tmp_path, "s"))
    for option, message in (
        ([], "there is no MLflow store"),
        (["--tracking-uri", f"http://127.0.0.1:{port}"], "does not answer"),
    ):
        assert ui.main([folder, *option]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(("variable", "opened"), [("DISPLAY", 1), ("NONE", 0)])
def test_a_browser_is_opened_where_there_is_a_screen(
    monkeypatch: pytest.MonkeyPatch, variable: str, opened: int
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, ":0")
    monkeypatch.setattr(sys, "platform", "linux")
    pages: list[str] = []
    monkeypatch.setattr("webbrowser.open", pages.append)
    ui._show("http://x", browser=True)
    ui._show("http://x", browser=False)
    assert len(pages) == opened


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_server_is_started_shared_and_ended(
    uri: str,
    tmp_path: Path,
    port: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from search import sync

    place = study(tmp_path, "s")
    assert sync.main([str(place), "--tracking-uri", uri]) == 0
    capsys.readouterr()
    code = f"from search import ui; ui.PORT = {port}; raise SystemExit(ui.main({[str(place)]!r}))"
    environment = {
        k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "DISPLAY")
    }
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout
        page = process.stdout.readline().strip()
        assert page.startswith(f"http://127.0.0.1:{port}/#/experiments/")
        assert "viewStateShareKey=layer-swap-s-table" in page
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=20) as answer:
            assert answer.status == 200
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.setattr(ui, "PORT", port)
        assert ui.main([str(place), "--no-browser"]) == 0  # the server there is
        assert capsys.readouterr().out.strip() == page
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    deadline = time.monotonic() + 20
    while not ui._free(port):
        assert time.monotonic() < deadline
        time.sleep(0.1)
