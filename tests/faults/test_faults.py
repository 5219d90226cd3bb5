"""A short, seeded part of the fault runs; `make test-faults` is the long one."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.harness import ENDED, SMALL, Search, compare
from tests.faults.inject import disturb, finish


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, mlflow_store: Path) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    shutil.copy(mlflow_store, folder)
    return folder


@pytest.fixture(scope="module")
def calm(out: Path) -> Iterator[Search]:
    """The same search undisturbed."""
    search = Search(out, "calm", SMALL)
    try:
        search.start()
        search.check_end(*ENDED, within=120)
        yield search
    finally:
        search.kill_all()


def test_nothing_is_lost(calm: Search, out: Path) -> None:
    """The engine, the driver and an actor go, one after another; the table stays."""
    search = Search(out, "disturbed", SMALL)
    rng = random.Random(0)
    # kill -9 of the driver and Ctrl-C: tests/e2e/test_search.py, with the real engine. Last what
    # another process must start for: the other engine may do all that is left meanwhile.
    names = ["an engine that raises", "SIGTERM", "kill -9 of an actor"]
    try:
        for name in names:
            assert disturb(search, name, rng), f"{name}: the search was over"
        finish(search)
        assert compare(search, calm)
    finally:
        search.kill_all()
