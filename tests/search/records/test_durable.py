"""Files that survive a crash: whole or as they were, line by line."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from search.records import durable


def test_whole_file_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "f"
    durable.write_whole(file, b"old")

    def refuse(*_: object) -> None:
        raise OSError("crash")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="crash"):
        durable.write_whole(file, b"new")
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


def test_a_line_that_cannot_be_synced_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f"
    durable.append_line(file, b"1\n")

    def refuse(_: int) -> None:
        raise OSError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="no space"):
            durable.append_line(file, b"2\n")
    assert file.read_bytes() == b"1\n"
    durable.append_line(file, b"3\n")
    assert file.read_bytes() == b"1\n3\n"


@pytest.mark.parametrize("folder", [False, True])
def test_a_first_line_that_fails_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: bool
) -> None:
    """The next line syncs the file's name once more."""
    file, synced = tmp_path / "f", os.fsync

    def refuse(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}") == folder:
            raise OSError(errno.EIO, "input/output error")
        synced(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="input/output error"):
            durable.append_line(file, b"1\n")
    assert durable.read_lines(file, mend=False) == []
    seen: list[Path] = []
    monkeypatch.setattr(durable, "sync_folder", seen.append)
    durable.append_line(file, b"2\n")
    assert file.read_bytes() == b"2\n" and seen == [tmp_path]


def test_half_a_line_does_not_swallow_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short write whose rest is refused, on a disk that refuses to cut it off, too."""
    file, write = tmp_path / "f", os.write
    durable.append_line(file, b"1\n")

    def short(descriptor: int, data: memoryview) -> int:
        if len(data) < 8:
            raise OSError(errno.ENOSPC, "no space")
        return write(descriptor, data[:5])

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(
            durable.NotTakenBackError, match=r"no space.* cannot be removed \(.*put"
        ):
            durable.append_line(file, b'{"a": 2}\n')
    assert file.read_bytes() == b'1\n{"a":'
    with monkeypatch.context() as patch:
        patch.setattr(os, "truncate", refuse)
        with pytest.raises(OSError, match="input/output error"):
            durable.append_line(file, b"3\n")
    assert file.read_bytes() == b'1\n{"a":'
    durable.append_line(file, b"3\n")
    assert file.read_bytes() == b"1\n3\n"
    assert (tmp_path / "f.cut").read_bytes().endswith(b'{"a":\n')


@pytest.mark.parametrize(
    ("number", "known"),
    [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False), (errno.ENOSPC, False)],
)
def test_file_systems_that_sync_no_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, known: bool
) -> None:
    synced = os.fsync

    def refuse(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    if known:
        durable.write_whole(tmp_path / "f", b"1")
        durable.make_folder(tmp_path / "a" / "b")
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            durable.sync_folder(tmp_path)


def test_names_of_new_folders_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []
    monkeypatch.setattr(durable, "sync_folder", seen.append)
    durable.make_folder(tmp_path / "out" / "s" / "items")
    assert set(seen) == {tmp_path, tmp_path / "out", tmp_path / "out" / "s"}
    durable.make_folder(tmp_path / "out" / "t")
    assert seen[3:] == [tmp_path / "out"]


def test_what_is_written_is_synced_with_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes before the name that shows them, and then the name."""
    done: list[str] = []
    sync, move = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        done.append(f"sync {os.path.basename(os.readlink(f'/proc/self/fd/{descriptor}'))}")
        sync(descriptor)

    def replace(old: Path, new: Path) -> None:
        done.append("rename")
        move(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    durable.write_whole(tmp_path / "f", b"new")
    assert done == ["sync f.part", "rename", f"sync {tmp_path.name}"]
    done.clear()
    durable.append_line(tmp_path / "lines", b"1\n")
    durable.append_line(tmp_path / "lines", b"2\n")
    assert done == ["sync lines", f"sync {tmp_path.name}", "sync lines"]


@pytest.mark.parametrize(
    ("data", "lines", "aside"),
    [
        (b"", [], None),
        (b"1\n2\n", [b"1", b"2"], None),
        (b"1\n{", [b"1"], b"{\n"),
        (b"1\n{\x00}\n", [b"1"], b"{\x00}\n"),
        (b"{\n2\n", [b"{", b"2"], None),  # only the last line can have been cut off
        (b"1\n\n", [b"1", b""], None),
        (b"{", [], b"{\n"),
    ],
)
def test_lines_and_what_was_cut_off(
    tmp_path: Path, data: bytes, lines: list[bytes], aside: bytes | None
) -> None:
    file, cut = tmp_path / "f", tmp_path / "f.cut"
    file.write_bytes(data)
    assert durable.read_lines(file, mend=False) == lines
    assert file.read_bytes() == data and not cut.exists()
    assert durable.read_lines(file, mend=True) == lines
    assert file.read_bytes() == b"".join(line + b"\n" for line in lines)
    assert (cut.read_bytes() if cut.exists() else None) == aside
