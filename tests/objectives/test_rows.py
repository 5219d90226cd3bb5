"""Rows of users' files, and what is said of those that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from objectives.errors import DataError
from objectives.rows import csv_rows, decode, json_rows, shown


def write(folder: Path, data: bytes) -> Path:
    file = folder / "rows"
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_csv_of_any_line_ends(tmp_path: Path, end: bytes) -> None:
    data = end.join([b"a,b,c", b'1,"x', b'y",3', b"4,5,6", b""])
    rows = list(csv_rows(write(tmp_path, data), ("a", "b")))
    assert rows == [(2, {"a": "1", "b": "x\ny", "c": "3"}), (4, {"a": "4", "b": "5", "c": "6"})]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a\n1\n", r"line 1: no column b"),
        (b"a,b\n1\n", r"line 2: a field too few or too many"),
        (b"a,b\n1,2\n1,2,3\n", r"line 3: a field too few or too many"),
        (b'a,b\n1,"2\n', r"line 2: not CSV"),
        (b"a,b\n\xff,1\n", r"line 2: not UTF-8"),
        (b"  \n", r"the file is empty"),
    ],
)
def test_csv_that_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(csv_rows(write(tmp_path, data), ("a", "b")))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": 1}\n[]\n', r"line 2: not an object: \[\]"),
        (b'{"a": 1}\n\n{"a": 2}\n', r"line 2: an empty line"),
        (b'{"a": 1}\n{"b": 2}\n', r"line 2: no field a"),
        (b"{", r"line 1: not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", r"line 1: not JSON \(Exceeds the limit"),
        (b'{"a": 1}\n' + b"[" * 100_000, r"line 2: not JSON"),
        (b'{"a": 1}\n\xef\xbb\xbf{"a": 1}', r"line 2: not JSON"),  # two files in one
    ],
)
def test_json_that_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(json_rows(write(tmp_path, data), ("a",)))


def test_json_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = write(tmp_path, b'\xef\xbb\xbf{"a": 1, "z": 2}\n')
    assert list(json_rows(file, ("a",))) == [(1, {"a": 1, "z": 2})]


def test_a_field_of_any_length(tmp_path: Path) -> None:
    long = "x" * 200_000
    assert list(csv_rows(write(tmp_path, f"a\n{long}\n".encode()), ("a",))) == [(2, {"a": long})]


@pytest.mark.parametrize("data", [b"a\nx\xed\xa0\xbd.\n", b"a\nx\xed\xb8\x80.\n"])
def test_half_a_surrogate_pair_in_csv(tmp_path: Path, data: bytes) -> None:
    assert list(csv_rows(write(tmp_path, data), ("a",))) == [(2, {"a": "x\ufffd."})]


def test_half_a_surrogate_pair_in_json(tmp_path: Path) -> None:
    file = write(tmp_path, rb'{"a": "x\ud83d.", "b": "\ud83d\ude00", "c": ["\ud83d"]}')
    assert [row["a"] + row["b"] for _, row in json_rows(file, ("a",))] == ["x\ufffd.😀"]


def test_a_missing_file_and_standard_input(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        list(csv_rows(tmp_path / "none", ("a",)))
    assert shown(Path("-")) == Path("<stdin>") and shown(tmp_path) == tmp_path
    assert decode(b"\xef\xbb\xbfx", tmp_path) == "x"
