"""A study's page in MLflow: found, opened, and left as it was."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import pytest

from objectives.types import Score
from search import sync, ui
from search.config import compose
from search.records.head import StudyHead
from search.records.writer import RecordsWriter
from tests.cluster.nodes import free_port
from tests.search.study.tracking.sent import HEAD, L, poor_base, trial


class Served(NamedTuple):
    """A study that `search.ui` shows: its folder, the server's port, the address it printed."""

    place: Path
    port: int
    page: str


def study(folder: Path, name: str) -> Path:
    records = RecordsWriter.create(folder / name, replace(HEAD, id=name))
    for record in (trial(1), trial(2, "failed"), poor_base(3)):
        records.append(record)
    records.close()
    return folder / name


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


@pytest.fixture(scope="module")
def served(mlflow_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A study that has finished, and the command that shows it, ended by Ctrl-C."""
    folder = tmp_path_factory.mktemp("ui")
    shutil.copy(mlflow_store, folder / "mlflow.db")
    config = compose.load([], {"lang": "te"}).model_dump(mode="json")
    records = RecordsWriter.create(folder / "s", StudyHead("s", config, id="s", layers=L))
    best = {"accuracy": Score(0.9, 0.84, 0.94, 150, 150), "lcpr": Score(1.0, 0.96, 1.0, 100, 100)}
    rows = [trial(1), replace(trial(2), scores=best), trial(3, "failed"), poor_base(4)]
    final = [replace(rows[1], number=5), replace(rows[3], number=6)]
    for record in (*rows, *(replace(r, split="held_out", origin="final") for r in final)):
        records.append(replace(record, items=""))
    records.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert sync.main([str(folder / "s")]) == 0
        port = free_port()
        code = f"from search import ui; ui.PORT = {port}; "
        code += f"raise SystemExit(ui.main({[str(folder / 's'), '--no-browser']!r}))"
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout
            yield Served(folder / "s", port, process.stdout.readline().strip())
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
    assert ui._free(port)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_server_is_started_and_shared(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert served.page.startswith(f"http://127.0.0.1:{served.port}/#/experiments/")
    assert "viewStateShareKey=layer-swap-s-table" in served.page
    with urlopen(f"http://127.0.0.1:{served.port}/health", timeout=20) as answer:
        assert answer.status == 200
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(ui, "PORT", served.port)
    assert ui.main([str(served.place), "--no-browser"]) == 0  # by the server there is
    assert capsys.readouterr().out.strip() == served.page


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_what_a_browser_shows(served: Served) -> None:
    """The best recipe first with its columns, the charts drawn, the recommendation at the top."""
    from playwright.sync_api import sync_playwright

    best = trial(2).label
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        page = browser.new_page(viewport={"width": 2400, "height": 1400})
        page.set_default_timeout(60_000)
        page.goto(served.page, wait_until="domcontentloaded")
        page.wait_for_selector(".ag-row a")
        rows = page.locator(".ag-row a")
        assert best in rows.first.inner_text()
        shown = page.locator(".ag-root").first.inner_text()
        assert {"accuracy", "accuracy_low", "lcpr", "b", "u", "t_b", "t_u"} <= set(shown.split())
        assert "90" in page.locator(".ag-row").nth(0).inner_text() or "90" in shown
        page.goto("about:blank")  # another view of one page is not loaded anew
        charts = served.page.replace("-table", "-charts").replace("TABLE", "CHART")
        page.goto(charts, wait_until="domcontentloaded")
        page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length >= 2")
        browser.close()
