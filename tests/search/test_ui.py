"""A study's page in MLflow: found, opened, and left as it was."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import pytest

from objectives.types import Score
from search import sync, ui
from search.config import compose
from search.records.head import StudyHead
from search.records.record import Record
from search.records.writer import RecordsWriter
from search.study.tracking.outbox import Outbox
from search.study.tracking.runs import default_uri, experiment_name
from tests.cluster.nodes import free_port
from tests.search.study.tracking.sent import HEAD, L, poor_base, trial


class Served(NamedTuple):
    """A study that `search.ui` shows: its folder, the server's port, the address it printed."""

    path: Path
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
    assert ui.main([str(served.path), "--no-browser"]) == 0  # by the server there is
    assert capsys.readouterr().out.strip() == served.page


@contextmanager
def running(folder: Path) -> Iterator[tuple[Path, Callable[[Record], None]]]:
    """A study of the same store that has not ended, and what gives it one more trial."""
    config = compose.load([], {"lang": "te"}).model_dump(mode="json")
    records = RecordsWriter.create(folder / "r", StudyHead("r", config, id="r", layers=L))
    name = experiment_name("demo", "te")
    outbox = Outbox(default_uri(folder), name, records.head(), {}, records.folder)
    assert outbox.start()

    def ended(record: Record) -> None:
        outbox.put(records.append(replace(record, items="")))
        deadline = time.monotonic() + 60
        while outbox._outbox:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    try:
        yield records.folder, ended
    finally:
        assert outbox.finish(status="KILLED") == 0
        records.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_what_a_browser_shows(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The best recipe first with its columns, the charts drawn, the recommendation at the top.

    Of a study that runs, what has ended so far.
    """
    from mlflow.tracking import MlflowClient
    from playwright.sync_api import sync_playwright

    best = trial(2).label
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(ui, "PORT", served.port)
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        page = browser.new_page(viewport={"width": 2400, "height": 1400})
        page.set_default_timeout(60_000)

        def first_row(address: str) -> str:
            page.goto("about:blank")  # another view of one page is not loaded anew
            page.goto(address, wait_until="domcontentloaded")
            page.wait_for_selector(".ag-row a")
            return page.locator(".ag-row a").first.inner_text()

        assert best in first_row(served.page)
        shown = page.locator(".ag-root").first.inner_text()
        assert {"accuracy", "accuracy_low", "lcpr", "b", "u", "t_b", "t_u"} <= set(shown.split())
        assert "90" in page.locator(".ag-row").nth(0).inner_text() or "90" in shown
        page.goto("about:blank")
        charts = served.page.replace("-table", "-charts").replace("TABLE", "CHART")
        page.goto(charts, wait_until="domcontentloaded")
        page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length >= 2")

        client = MlflowClient(default_uri(served.path.parent))
        place = served.page.partition("/experiments/")[2].partition("?")[0].partition("/")[0]
        (parent,) = client.search_runs([place], "attributes.run_name = 's'")
        address = served.page.partition("#")[0]
        page.goto(f"{address}#/experiments/{place}/runs/{parent.info.run_id}")
        head = page.get_by_role("heading", name="Recommended:")
        head.wait_for()
        assert best in head.inner_text()
        assert "search.export" in page.locator("body").inner_text()

        with running(served.path.parent) as (study, ended):
            ended(trial(3))
            ended(replace(trial(1, "failed"), scores={}))  # as a failed one has none
            capsys.readouterr()
            assert ui.main([str(study), "--no-browser"]) == 0
            address = capsys.readouterr().out.strip()
            assert trial(3).label in first_row(address)
            better = {"accuracy": Score(0.9, 0.84, 0.94, 150, 150)}
            ended(replace(trial(4), scores={**trial(4).scores, **better}))
            assert trial(4).label in first_row(address)
        browser.close()
