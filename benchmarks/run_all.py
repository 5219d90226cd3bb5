"""The short benchmarks, one after another, into benchmarks/RESULTS.md with machine and command.

make benchmark [MERGEKIT_PYTHON=a Python of another environment with the extra `mergekit`]
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks import (
    lm_eval_speed,
    make_demo,
    materialise,
    mergekit_parity,
    scoring,
    search_time,
)


def _parity() -> list[str]:
    python = os.environ.get("MERGEKIT_PYTHON")
    if python is None:
        return ["Not measured: MERGEKIT_PYTHON must name a Python with mergekit 0.1.5."]
    return mergekit_parity.main(python)


SECTIONS = {
    "Rewriting weights in place": ("python -m benchmarks.materialise", materialise.main),
    "Scoring completions": ("python -m benchmarks.scoring", scoring.main),
    "Parity with mergekit 0.1.5": (
        "python -m benchmarks.mergekit_parity --mergekit-python PYTHON",
        _parity,
    ),
    "Tasks of lm-evaluation-harness": ("python -m benchmarks.lm_eval_speed", lm_eval_speed.main),
    "A demo search": ("python -m benchmarks.search_time", search_time.main),
    "make demo on a clean clone": ("python -m benchmarks.make_demo", make_demo.main),
}


def main() -> None:
    """Measure all and write."""
    file = Path(__file__).with_name("RESULTS.md")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    head = (
        f"{_machine()}, Python {platform.python_version()}, commit {commit.stdout.strip()}. "
        "Written by `make benchmark`; nothing here is a promise, machines differ."
    )
    # What other scripts measured (a GPU, long fault runs, a real family) stays.
    others = file.read_text("utf-8").split("\n## ")[1:] if file.exists() else []
    kept = [text.rstrip() for text in others if text.splitlines()[0] not in SECTIONS]
    text = ["# Measured", "", head]
    for title, (command, measure) in SECTIONS.items():
        print(f"{title}: {command}", file=sys.stderr)
        text += ["", f"## {title}", "", f"`{command}`", "", *measure()]
    text += [line for section in kept for line in ("", f"## {section}")]
    file.write_text("\n".join(text) + "\n", encoding="utf-8")
    print(file.read_text("utf-8"))


def _machine() -> str:
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        if line.startswith("model name")
    ]
    return f"{os.cpu_count()} cores ({names[0] if names else platform.machine()}), no GPU"


if __name__ == "__main__":
    main()
