"""`objectives.score` on published completions and on our own short ones, repeated.

python -m benchmarks.scoring
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT.parent / "shared" / "data" / "lcb"
OWN = ROOT / "tests" / "objectives" / "lcb_data"
RESPONSES = 6586
"""Responses of one published model."""


def main() -> list[str]:
    """Time the whole command, models and tokenisers loaded anew; lines of a Markdown table."""
    rows = [f"| {name} | {seconds} |" for name, seconds in _measure()]
    return [f"| {RESPONSES} responses | s |", "| --- | ---: |", *rows]


def _measure() -> Iterator[tuple[str, str]]:
    if PUBLISHED.is_dir():
        for file in sorted((PUBLISHED / "outputs").glob("*.csv")):
            yield f"published, {file.stem}", _seconds(file, PUBLISHED / "words")
    else:
        yield "published", "not measured: ../shared/data/lcb is not there"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "own.csv"
        with (OWN / "completions.csv").open(encoding="utf-8", newline="") as source:
            head, *rows = csv.reader(source)
        with file.open("w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows([head, *islice(cycle(rows), RESPONSES)])
        yield "our own short ones, repeated", _seconds(file, OWN / "words")


def _seconds(file: Path, words: Path) -> str:
    command = [sys.executable, "-m", "objectives.score", "lcb", str(file), "--words", str(words)]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return f"{time.perf_counter() - start:.1f}"


if __name__ == "__main__":
    print("\n".join(main()))
