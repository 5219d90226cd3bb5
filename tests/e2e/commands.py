"""The main job as a user starts it: a process of its own, on the demo family with few items."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from search.run.__main__ import UNDECIDED

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "family=tests/e2e/small.yaml",
    "objective.mgsm.search_items=60",  # enough to tell recipes apart
    "objective.mgsm.held_out_items=24",
    "objective.lcpr.search_items=12",
    "objective.lcpr.held_out_items=12",
    "search.soups=first",
    "search.baselines={soup: 0, task_arithmetic: 0, ties: 1, slerp: 1}",
    "space.pairs=[[0,0],[1,1]]",
    "space.w_lang={low: 0.1, high: 0.9, step: 0.1}",
    "search.engines=1",  # two searches at a time on two cores
    "search.cpus_per_engine=1",
]


def environment() -> dict[str, str]:
    """Without a cluster or tracking server of the person who runs the tests."""
    left_out = ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")
    return {k: v for k, v in os.environ.items() if k not in left_out} | {"HF_HUB_OFFLINE": "1"}


def start(*arguments: str, module: str = "search.run") -> subprocess.Popen[str]:
    """Begin `python -m MODULE` with these arguments."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(*arguments: str) -> str:
    """Run it to its end; the output."""
    return finish(start(*arguments))


def finish(process: subprocess.Popen[str], timeout: float = 500) -> str:
    """Wait for its end, as its output says that it ended: a few trials may decide nothing."""
    output, _ = process.communicate(timeout=timeout)
    undecided = any(line.startswith("no recommendation: ") for line in output.splitlines())
    assert process.returncode == (UNDECIDED if undecided else 0), output[-5000:]
    return output


def trials(study: Path) -> list[dict[str, Any]]:
    """The records of a study, as written."""
    file = study / "trials.jsonl"
    return (
        [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    )
