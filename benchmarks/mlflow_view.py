"""How long MLflow takes to show a long study: its table of recipes, and its charts.

    python -m benchmarks.mlflow_view [--trials 500]        (needs chromium)

The trials are made up; they are sent by `search.sync`, and the pages opened as `search.ui` prints
them. A page counts as open when its best recipe, or its third chart, can be seen.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from shutil import which

from playwright.sync_api import Page, sync_playwright

from tests.search.report.studies import many


def main(trials: int = 500) -> list[str]:
    """A Markdown table: what was waited for, seconds."""
    rows = [f"| {trials} trials | seconds |", "| --- | ---: |"]

    def timed(what: str, do: Callable[[], object]) -> None:
        began = time.perf_counter()
        do()
        rows.append(f"| {what} | {time.perf_counter() - began:.1f} |")

    with tempfile.TemporaryDirectory() as folder:
        study = str(Path(folder) / "s")
        many(Path(study), trials).close()
        command = [sys.executable, "-m", "search.sync", study]
        timed("send all to a new store", lambda: subprocess.run(command, check=True))
        command = [sys.executable, "-m", "search.ui", study, "--no-browser"]
        began = time.perf_counter()
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        try:
            table = server.stdout.readline().strip()
            rows.append(f"| `search.ui` prints the address | {time.perf_counter() - began:.1f} |")
            charts = table.replace("-table", "-charts").replace("TABLE", "CHART")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=which("chromium"), args=["--no-sandbox", "--disable-gpu"]
                )
                page = browser.new_page(viewport={"width": 1600, "height": 900})
                page.set_default_timeout(120_000)
                seen = "document.querySelectorAll('.ag-row a').length"
                drawn = "document.querySelectorAll('.js-plotly-plot').length"
                for visit in ("first", "again"):
                    timed(f"the table, {visit}", lambda: _open(page, table, f"{seen} > 0"))
                    timed(f"the charts, {visit}", lambda: _open(page, charts, f"{drawn} >= 3"))
                rows += _said(page, table)
                browser.close()
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()
    return rows


def _open(page: Page, address: str, seen: str) -> None:
    page.goto("about:blank")  # another view of one page is not loaded anew
    page.goto(address, wait_until="domcontentloaded")
    page.wait_for_function(seen)


def _said(page: Page, table: str) -> list[str]:
    """What MLflow says below the table of how many runs it has loaded."""
    _open(page, table, "document.querySelectorAll('.ag-row a').length > 0")
    text = page.locator("body").inner_text()
    return ["", *(line for line in text.splitlines() if "matching run" in line)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500)
    print("\n".join(main(**vars(parser.parse_args()))))
