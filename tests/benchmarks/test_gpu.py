"""The GPU's benchmark: a step that fails or hangs is told of and leaves nothing; its rehearsal."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import shapes
from benchmarks.gpu.step import Finding, Given

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command in place of Python that finds one thing and then ends as it is told."""
    command = tmp_path / "python"
    command.write_text(
        f"""#!/bin/sh
echo '{Finding("here", "1", "1", True).line()}'
case "$4" in
  fails) echo "RuntimeError: CUDA error" >&2; exit 1;;
  hangs) sleep 1234.5 & sleep 1234.5;;
esac
"""
    )
    command.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(command))
    names = ("works", "fails", "hangs")
    monkeypatch.setattr(gpu, "STEPS", {name: (f"what {name}", 1) for name in names})
    return tmp_path


def outcome(name: str, folder: Path, seconds: float = 100) -> list[Finding]:
    return list(gpu._outcome(name, False, folder, time.monotonic() + seconds))


def test_a_step_that_works(steps: Path) -> None:
    assert outcome("works", steps) == [Finding("here", "1", "1", True)]


def test_a_step_that_fails_keeps_what_it_found(
    steps: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, problem = outcome("fails", steps)
    assert first.passed and problem.passed is False and "status 1" in problem.figure
    assert "CUDA error" in capsys.readouterr().err


@pytest.mark.slow
def test_a_step_that_hangs_leaves_no_process(steps: Path) -> None:
    first, problem = outcome("hangs", steps)
    assert first.passed and problem.passed is False and "not done" in problem.figure
    left = [p for p in psutil.process_iter(["cmdline"]) if "1234.5" in (p.info["cmdline"] or [])]
    assert not left


def test_no_time_left_is_said(steps: Path) -> None:
    (found,) = outcome("works", steps, seconds=0.1)
    assert "no time was left" in found.figure and found.passed is None


@pytest.mark.parametrize(
    ("tier", "room", "said"),
    [
        ("files", 1, ""),
        ("pinned", 47, ""),
        ("pinned", 20, "not run: /dev/shm has room for 20 of 46 GiB"),
        ("GPU memory", 80, ""),
        ("GPU memory", 40, "not run: the GPU beside the model has room for 18 of 46 GiB"),
    ],
)
def test_a_tier_without_room_is_said(
    tier: str, room: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, disk = SimpleNamespace(total_memory=room * 2**30), SimpleNamespace(free=room * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: memory)
    monkeypatch.setattr(shapes.shutil, "disk_usage", lambda place: disk)
    assert shapes._missing(Given(False, tmp_path), tier, 46) == said


@pytest.mark.long
@pytest.mark.timeout(1600)
def test_every_step_runs_on_a_cpu() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--rehearse", "--minutes", "30"],
        capture_output=True,
        text=True,
        timeout=1500,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    for step in gpu.STEPS:
        assert f"| {step} |" in done.stdout
    left_out = [line for line in done.stdout.splitlines() if "not run" in line]
    assert all("not run: it needs a GPU" in line for line in left_out), left_out
