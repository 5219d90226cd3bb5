"""The two formats of completions that were made elsewhere."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from objectives.completions import read_lcb_completions, read_mgsm_completions
from objectives.errors import DataError

HEAD = "model,completion,task,source,language\n"


def write(folder: Path, text: str) -> Path:
    file = folder / "completions"
    file.write_text(text, "utf-8")
    return file


def test_lcb(tmp_path: Path) -> None:
    (found,) = read_lcb_completions(write(tmp_path, f"{HEAD}m,,crosslingual,okapi,fr\n"))
    assert (found.model, found.completion, found.language) == ("m", "", "fr")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("", "no rows under the header"),
        ("m,x,other,okapi,fr\n", "line 2: task 'other'. It is crosslingual or monolingual"),
        (" ,x,monolingual,okapi,fr\n", "line 2: no model"),
        ("m,x,monolingual,,fr\n", "line 2: no source"),
        ("m,x,monolingual,okapi,xx\n", "line 2: .*xx"),
    ],
)
def test_lcb_that_is_refused(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(read_lcb_completions(write(tmp_path, HEAD + row)))


def test_mgsm(tmp_path: Path) -> None:
    line = '{"language": "te", "question": "q", "target": "2,125", "completion": "c"}\n'
    (found,) = read_mgsm_completions(write(tmp_path, line))
    assert found.target == Decimal(2125) and found.place.endswith("completions, line 1")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"te"', "1", "language is 1. Write it as text"),
        ('"18"', "true", "the target True is not one number"),
        ('"18"', '"a"', "the target 'a' is not one number"),
        ('"te"', '"xx"', "line 1: .*xx"),
        ('"q"', "null", "question is None"),
    ],
)
def test_mgsm_that_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    line = '{"language": "te", "question": "q", "target": "18", "completion": "c"}\n'
    with pytest.raises(DataError, match=message):
        list(read_mgsm_completions(write(tmp_path, line.replace(old, new))))
