"""Runs a program that nobody has read, in a process that is shut in and limited.

Owns the limits, and whether this machine can shut a process in; what it is shut in by is
`sandbox_inside`. Knows no benchmark.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from objectives.errors import SettingError

INSIDE = Path(__file__).with_name("sandbox_inside.py")
MIB = 1024**2


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Attributes:
        seconds: of processor time, for each of its processes; four times that by the clock, for
            all, and five seconds more.
        memory_mib: address space of each of its processes.
        files_mib: all files that it writes, which lie in memory.
        processes: processes and threads at a time, itself included.
    """

    seconds: int = 5
    memory_mib: int = 512
    files_mib: int = 16
    processes: int = 16

    @property
    def wall(self) -> float:
        """Seconds by the clock."""
        return 4.0 * self.seconds + 5


class End(NamedTuple):
    """How a program ended: whether it came to its end, or why not."""

    passed: bool
    reason: str


class SandboxError(Exception):
    """A sandbox could not be made: nothing was run."""


def run(program: str, limits: Limits, *, isolated: bool = True) -> End:
    """Run a Python program; what it prints is not kept.

    Args:
        program: its text; it passes if it comes to its end without an error.
        limits: what it may use.
        isolated: whether it has no network, sees no file but Python's and no other process. If not,
            it is limited, and has an empty environment and folder, and the rights of this account.

    Raises:
        SandboxError: the kernel refuses what isolation needs.
    """
    with tempfile.TemporaryDirectory(prefix="sandbox-") as folder:
        job = {
            "program": program,
            "folder": folder,
            "isolated": isolated,
            "seconds": limits.seconds,
            "wall": limits.wall,
            "memory": limits.memory_mib * MIB,
            "files": limits.files_mib * MIB,
            "processes": limits.processes,
        }
        python = getattr(sys, "_base_executable", sys.executable)  # outside of a virtual one
        done = subprocess.run(
            [python, "-I", "-B", str(INSIDE)],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            env={},
            start_new_session=True,
        )
    if done.returncode:
        raise SandboxError(f"no sandbox could be made: {done.stderr.strip()[-300:]}")
    return End(**json.loads(done.stdout))


def check() -> None:
    """Find out whether this machine can isolate a program.

    Raises:
        SettingError: it cannot.
    """
    try:
        end = run("import json", Limits())
    except SandboxError as error:
        raise SettingError(
            f"{error}. Programs that a model writes are run without network and files, for which "
            "Linux 5.12 with namespaces is needed, and in a container the right to make them "
            "(docs/code.md). objective.code.isolated=false runs them with limits alone: any can "
            "then read, write and send what this account can"
        ) from None
    if not end.passed:
        raise SettingError(f"Python does not start in a sandbox here: {end.reason}")
