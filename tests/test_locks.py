"""What is installed: every package by its hash, from whatever registry is set up; and the audit."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
LOCKS = sorted(REQUIREMENTS.glob("*.lock"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_has_hashes_and_no_addresses(lock: Path) -> None:
    text = lock.read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) > 10
    for entry in entries:
        assert re.match(r"[a-z0-9-]+(\[[a-z,]+\])?==\S+", entry), entry[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry[:80]
    assert not re.search(r"https?:|--find-links|--index-url|file:", text)


def test_an_extra_index_serves_torch_alone(tmp_path: Path) -> None:
    """By what pip and uv are asked: each by hash, but for the one wheel that is from there."""
    here = tmp_path / "requirements"
    shutil.copytree(REQUIREMENTS, here)
    tools = tmp_path / "venv" / "bin"
    tools.mkdir(parents=True)
    for name in ("python", "uv"):
        (tools / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/asked\n')
        (tools / name).chmod(0o755)
    command = ["bash", str(here / "install.sh"), sys.executable, str(tmp_path / "venv"), "cpu"]
    for index in ("", "http://127.0.0.1:9/"):
        (tmp_path / "asked").unlink(missing_ok=True)
        environment = {**os.environ, "EXTRA_INDEX": index}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        asked = (tmp_path / "asked").read_text().splitlines()
        asked = [line for line in asked if " install " in line and "--editable" not in line]
        from_there = [line for line in asked if "--default-index" in line]
        assert all("--require-hashes" in line for line in asked if line not in from_there)
        rest = (tmp_path / "venv" / "rest.lock").read_text()
        whole = (REQUIREMENTS / "cpu.lock").read_text()
        if index:
            (line,) = from_there
            assert "--no-deps" in line
            assert line.endswith(f" --default-index {index} torch==2.13.0+cpu")
            kept = re.split(r"\n(?=\S)", whole)
            assert (
                rest.rstrip() == "\n".join(e for e in kept if not e.startswith("torch==")).rstrip()
            )
        else:
            assert from_there == [] and rest == whole


@pytest.mark.parametrize(
    ("said", "code", "status"),
    [
        ("No known vulnerabilities found", 0, 0),
        ("Found 1 known vulnerability in 1 package", 1, 1),
        ("requests.exceptions.ConnectionError: no such host", 1, 2),
        ("pip_audit._service.interface.ServiceError: 503", 1, 2),
    ],
)
def test_an_audit_that_reached_nothing_is_not_a_clean_one(
    said: str, code: int, status: int, tmp_path: Path
) -> None:
    audit = tmp_path / "bin" / "pip-audit"
    audit.parent.mkdir()
    audit.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit {code}\n")
    audit.chmod(0o755)
    command = ["bash", str(REQUIREMENTS / "audit.sh"), str(tmp_path), "cpu", "cuda"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    asked = (tmp_path / "cpu.txt").read_text().splitlines()
    assert len(asked) == (REQUIREMENTS / "cpu.lock").read_text().count("==")
    # an advisory for vLLM or torch names neither the CPU build's package nor its version's suffix
    assert any(line.startswith("vllm==") for line in asked)
    assert not [line for line in asked if "+" in line or " " in line]
