r"""Rows of files that users bring, each with the number of its line.

Owns how CSV and JSON lines are read and refused. Knows no benchmark: which fields there must be is
the caller's to say. Line breaks of every kind become "\n", as when Python opens a text file.
"""

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from objectives.errors import DataError
from objectives.letters import whole

STDIN = Path("-")
_SHOWN_STDIN = Path("<stdin>")
_LONGEST_FIELD = 2**31 - 1  # characters; the csv module's own limit is 131,072 for the process


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the records of a CSV file with a header; further columns are left in.

    Args:
        path: the file; "-" is standard input.
        columns: columns that must be there.

    Yields:
        The number of a record's first line, and its fields by column.

    Raises:
        DataError: the file cannot be read, lacks a column, or a record is malformed.
    """
    text, place = _read(path)
    remedy = f"The columns are {', '.join(columns)}"
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.DictReader(io.StringIO(text), strict=True)
    start = 1
    try:
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError.at(place, f"no column {', '.join(missing)}", remedy, 1)
        start = reader.line_num + 1
        for row in reader:
            if None in row or None in row.values():
                raise DataError.at(place, "a field too few or too many", remedy, start)
            yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError.at(place, f"not CSV ({error})", remedy, start) from error


def json_rows(path: Path, fields: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a file of JSON lines; further fields are left in.

    Args:
        path: the file; "-" is standard input.
        fields: fields that must be there.

    Yields:
        The number of an object's line, and the object.

    Raises:
        DataError: the file cannot be read, or a line is not an object with these fields.
    """
    text, place = _read(path)
    remedy = f"Each line is a JSON object with {', '.join(fields)}"
    for line, written in enumerate(text.rstrip("\n").split("\n"), 1):
        try:
            row = json.loads(written)
        except (ValueError, RecursionError) as error:  # a number too long, brackets too deep
            problem = f"not JSON ({error})" if written.strip() else "an empty line"
            raise DataError.at(place, problem, remedy, line) from error
        if not isinstance(row, dict):
            raise DataError.at(place, f"not an object: {written[:40]}", remedy, line)
        missing = [name for name in fields if name not in row]
        if missing:
            raise DataError.at(place, f"no field {', '.join(missing)}", remedy, line)
        yield line, {k: whole(v) if isinstance(v, str) else v for k, v in row.items()}


def shown(path: Path) -> Path:
    """Return what to call a file in an error: standard input has no path."""
    return _SHOWN_STDIN if path == STDIN else path


def decode(data: bytes, place: Path) -> str:
    """Decode UTF-8, with or without a byte order mark; of half a surrogate pair U+FFFD is left.

    Args:
        data: what the file holds.
        place: the file, for the error.

    Raises:
        DataError: it is not UTF-8; with the number of the line.
    """
    try:
        return whole(data.decode("utf-8", "surrogatepass").removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError.at(place, f"not UTF-8 ({error.reason})", "Re-encode it", line) from error


def _read(path: Path) -> tuple[str, Path]:
    place = shown(path)
    try:
        data = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise DataError.at(place, problem, "Name a file, or - for standard input") from error
    text = decode(data, place)
    if not text.strip():
        raise DataError.at(place, "the file is empty", "Put the rows there")
    return text.replace("\r\n", "\n").replace("\r", "\n"), place
