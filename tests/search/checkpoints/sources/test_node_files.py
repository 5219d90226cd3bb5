"""What the engines of a node share."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from search.checkpoints.sources.node_files import here, locked, plain


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("org/name@main", "org--name--main"),
        ("s3://b/x y", "s3--b--x--y"),
        ("../..", "unnamed"),
        (".hidden", "hidden"),
        ("", "unnamed"),
    ],
)
def test_a_name_is_one_part_of_a_path(name: str, shown: str) -> None:
    assert plain(name) == shown and "/" not in plain(name)


def test_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    inside, order = threading.Event(), list[str]()

    def second() -> None:
        inside.wait()
        with locked("org/x"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with locked("org/x"):
        inside.set()
        thread.join(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_path_of_the_drivers_copy_is_this_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "node" / "weights").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "node")
    assert here("/driver/weights", "/driver") == str(tmp_path / "node" / "weights")
    for location in ("/driver/other", "/elsewhere/weights", "org/name", "s3://b/x"):
        assert here(location, "/driver") == location
    assert here("/driver/weights", "") == "/driver/weights"
