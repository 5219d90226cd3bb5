"""What a user may write for the place of a study."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.common.errors import ConfigError
from search.records.study_path import Url, locate


@pytest.mark.parametrize("text", ["runs", "/a/b", "s3", "a:b", "../x"])
def test_paths(text: str) -> None:
    assert locate(text) == Path(text)


def test_addresses() -> None:
    assert locate("s3://b/runs/") == Url("s3://b/runs")
    assert str(locate("gs://b") / "s") == "gs://b/s" and (locate("gs://b") / "s").name == "s"
    assert locate("file:///data/runs") == Path("/data/runs")


@pytest.mark.parametrize(
    "text",
    ["s3://", "s3://b/../c", "s3://b//c", "s3://b/.", "s3://b/*", "zip://x::s3://b", "s3://b?a"],
)
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(ConfigError, match="is not an address of a folder"):
        locate(text)


def test_password_in_an_address() -> None:
    with pytest.raises(ConfigError, match=r"s3://\*\*\*@b/runs: leave name and password") as error:
        locate("s3://me:hush@b/runs")
    assert "hush" not in str(error.value)


def test_the_folder_of_a_study() -> None:
    assert str(locate("s3://bucket/runs/study").parent) == "s3://bucket/runs"
    assert str(locate("s3://bucket").parent) == "s3://bucket"
    assert locate("runs/study").parent == Path("runs")
