"""Files of any size, and YAML that would become more than its file, are refused at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from objectives.bounds import LARGEST, check_yaml, read_whole

DOUBLING = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30)
)


@pytest.mark.parametrize("text", ["", "a: 1", "a: &a [1]\nb: *a", b"a: [1, {b: 2}]", "# nothing"])
def test_what_may_be(text: str | bytes) -> None:
    check_yaml(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (DOUBLING, "anchors"),
        ("a: &a [*a]", "anchors"),
        ("x" * (LARGEST + 1), "larger than 1048576 bytes"),
    ],
)
def test_what_would_be_more(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_yaml(text)


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 1000 + "}" * 1000])
def test_what_is_nested_too_deep(text: str) -> None:
    with pytest.raises((RecursionError, yaml.YAMLError)):
        check_yaml(text)


def test_files_that_are_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"1234")
    assert read_whole(file, 4) == b"1234"
    with pytest.raises(OSError, match="larger than 3 bytes"):
        read_whole(file, 3)
    os.truncate(file, 2**40)  # of holes
    with pytest.raises(OSError, match="larger than 268435456 bytes"):
        read_whole(file)
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="no regular file"):
            read_whole(place)
