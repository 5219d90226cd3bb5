"""Copies of checkpoints in shared memory: one for all, within the budget, gone with the last."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from search.checkpoints.checkpoint import Checkpoint
from search.engine.link import HostLink
from search.engine.pinned import ALIGNED, PinnedFiles
from tests.search.engine.checkpoints import checkpoints

SHAPES = {"a": (100, 3), "b": (7,), "c": (50, 10)}
SIZE = 640 + 64 + 1000
"""Bytes of a copy: tensors begin at multiples of 64, nothing is rounded up to a power of two."""

HOLDER = """
import sys
from pathlib import Path
from search.checkpoints.checkpoint import Checkpoint
from search.engine.link import HostLink
from search.engine.pinned import PinnedFiles

PinnedFiles._write = (lambda write: lambda *a: (print("wrote", flush=True), write(*a)))(
    PinnedFiles._write
)
files = PinnedFiles(10**6, HostLink(), folder=Path(sys.argv[1]))
opened = files.open(Checkpoint.open(sys.argv[2]))
print(opened.read("a").float().sum().item(), flush=True)
sys.stdin.read()
files.close()
"""


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Checkpoint]:
    return checkpoints(tmp_path / "models", SHAPES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "shm"


def held(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.name != "lock"]


def test_a_copy_holds_the_files_bits_and_no_more(
    models: dict[str, Checkpoint], folder: Path
) -> None:
    files = PinnedFiles(10**6, HostLink(), threads=2, folder=folder)
    opened = files.open(models["base"])
    assert opened is not None and opened.registered
    for name in SHAPES:
        tensor = opened.read(name)
        assert torch.equal(tensor, models["base"].read(name))
        assert tensor.data_ptr() % ALIGNED == 0
    (file,) = held(folder)
    assert file.stat().st_size == SIZE and file.stat().st_mode & 0o077 == 0
    assert files.open(models["base"]) is opened
    del tensor
    files.close()
    assert held(folder) == []


def test_one_that_is_cut_to_fewer_rows_has_a_copy_of_its_own(
    models: dict[str, Checkpoint], folder: Path
) -> None:
    """An expert is cut to its base's rows, and other families of the node have other bases."""
    whole = models["base"]
    cut = replace(whole, tensors={**whole.tensors, "a": whole.tensors["a"]._replace(shape=(60, 3))})
    files = PinnedFiles(10**6, HostLink(), folder=folder)
    for checkpoint in (whole, cut):
        opened = files.open(checkpoint)
        assert opened is not None
        assert all(torch.equal(opened.read(n), checkpoint.read(n)) for n in SHAPES)
    assert len(held(folder)) == 2
    del opened
    files.close()


def test_one_writes_and_the_last_removes(models: dict[str, Checkpoint], folder: Path) -> None:
    """Two engines in a process stand for two processes: locks are of the open file."""
    one, other = (PinnedFiles(10**6, HostLink(), folder=folder) for _ in range(2))
    first, second = one.open(models["base"]), other.open(models["base"])
    assert first is not None and second is not None
    (file,) = held(folder)
    first.read("b")[0] = 5.0  # the same memory
    assert second.read("b")[0] == 5.0
    one.close()
    assert held(folder) == [file]
    other.close()
    assert held(folder) == []


def test_the_budget_is_the_nodes(models: dict[str, Checkpoint], folder: Path) -> None:
    one, other = (PinnedFiles(2 * SIZE, HostLink(), folder=folder) for _ in range(2))
    assert one.open(models["base"]) and other.open(models["task/0"])
    assert one.open(models["lang/0"]) is None is other.open(models["lang/0"])
    assert other.open(models["base"]) is not None
    assert len(held(folder)) == 2
    other.close()
    assert len(held(folder)) == 1
    assert one.open(models["lang/0"]) is None  # said once: what is not there is read from files
    one.close()
    assert PinnedFiles(0, HostLink(), folder=folder).open(models["base"]) is None


def test_a_checkpoint_that_has_changed_has_another_copy(
    models: dict[str, Checkpoint], folder: Path
) -> None:
    files = PinnedFiles(10**6, HostLink(), folder=folder)
    files.open(models["base"])
    os.utime(models["base"].path / "model.safetensors", (1, 1))
    files.open(models["base"])
    assert len(held(folder)) == 2


def test_no_room_in_the_folder(
    models: dict[str, Checkpoint],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    files = PinnedFiles(10**6, HostLink(), folder=folder)
    with caplog.at_level(logging.WARNING):
        assert files.open(models["base"]) is None
    assert "No space left on device; its files are read instead" in caplog.text.replace("\n", " ")
    assert held(folder) == []


def test_a_copy_that_fails_half_way_is_removed(
    models: dict[str, Checkpoint], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("the checkpoint is gone")

    monkeypatch.setattr(PinnedFiles, "_write", fails)
    with pytest.raises(RuntimeError, match="checkpoint is gone"):
        PinnedFiles(10**6, HostLink(), folder=folder).open(models["base"])
    assert held(folder) == []


@pytest.mark.parametrize("whose", ["another user's", "everybody's", "a link"])
def test_a_folder_that_others_can_change_holds_no_weights(
    models: dict[str, Checkpoint], folder: Path, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what lies in it is not touched."""
    real = folder.with_name("real")
    real.mkdir(mode=0o700)
    (real / "other.weights").write_bytes(b"1")
    if whose == "a link":
        folder.symlink_to(real)
    else:
        real.rename(folder)
    if whose == "everybody's":
        folder.chmod(0o777)
    if whose == "another user's":
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    before = sorted(folder.iterdir())
    files = PinnedFiles(10**6, HostLink(), folder=folder)
    with pytest.raises(PermissionError, match=f"{folder} is not this user's alone"):
        files.open(models["base"])
    assert sorted(folder.iterdir()) == before


@pytest.mark.slow
def test_processes_share_a_copy_and_a_killed_ones_is_removed(
    models: dict[str, Checkpoint], folder: Path
) -> None:
    command = [sys.executable, "-c", HOLDER, str(folder), str(models["base"].path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    try:
        said = [process.stdout.readline().strip() for process in running]
        assert said.count("wrote") == 1
        expected = str(models["base"].read("a").float().sum().item())
        writer, reader = running if said[0] == "wrote" else running[::-1]
        assert writer.stdout.readline().strip() == expected
        assert expected in said
        (file,) = held(folder)
        reader.communicate()  # ends in order, and is not the last
        assert held(folder) == [file]
        writer.kill()
        writer.wait()
        assert held(folder) == [file]  # nobody has cleaned up yet
        (folder / f"unfinished{file.name}").with_suffix(".part").write_bytes(b"")
        PinnedFiles(0, HostLink(), folder=folder)
        assert held(folder) == []
    finally:
        for process in running:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
