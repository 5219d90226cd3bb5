"""Screenshots of a study for these pages: python docs/make_screenshots.py STUDY (needs chromium).

Writes docs/mlflow_table.png, docs/mlflow_charts.png and docs/report.png.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
WIDE = {"width": 1600, "height": 900}


def main(study: str) -> None:
    """Start the study's page, look at it and at its report."""
    command = [sys.executable, "-m", "search.ui", study, "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport=WIDE)  # type: ignore[arg-type]
            _picture(page, address, ".ag-row a", "mlflow_table.png")
            charts = address.replace("-table", "-charts").replace("TABLE", "CHART")
            _picture(page, charts, ".js-plotly-plot", "mlflow_charts.png")
            report = (Path(study) / "report.html").resolve().as_uri()
            _picture(page, report, ".js-plotly-plot", "report.png")
            browser.close()
    finally:
        server.terminate()
        server.wait()


def _picture(page: Any, address: str, drawn: str, name: str) -> None:
    page.goto("about:blank")
    page.goto(address, wait_until="domcontentloaded")
    page.wait_for_selector(drawn, timeout=60_000)
    page.wait_for_timeout(3000)
    close = page.get_by_role("button", name="Close")
    if close.count():  # MLflow's assistant takes a third of the page
        close.first.click()
        page.wait_for_timeout(500)
    page.screenshot(path=HERE / name)


if __name__ == "__main__":
    main(sys.argv[1])
