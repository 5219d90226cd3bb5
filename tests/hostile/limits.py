"""A child process with little memory and time: what hostile input may use up is its own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 20
"""Of processor time; whoever needs them hangs."""
BYTES = 2 * 1024**3
"""Of address space: Python, pydantic and rich map some hundreds of MiB."""


def limited(
    *command: str, environment: dict[str, str] | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments; what it printed, and how it ended.

    Args:
        command: after `python`: `-c CODE ARGUMENT...` or `-m MODULE ARGUMENT...`.
        environment: variables besides this process's own.
        cwd: where it runs.
    """

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    kept = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=10 * SECONDS,
        preexec_fn=limit,
        env={**kept, "PYTHONPATH": str(ROOT), **(environment or {})},
        cwd=cwd,
    )
