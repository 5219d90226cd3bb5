"""Files that survive a crash: whole or as they were, line by line."""

from __future__ import annotations

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
