"""A command line for a test to spoil, and what became of those that were right."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.checkpoints.family import Family
from search.run.prepare import Prepared
from tests.search.run.setup import Setup


@pytest.fixture
def setup(tmp_path: Path, tiny_llama: Family, monkeypatch: pytest.MonkeyPatch) -> Setup:
    def no_engine(*_: object, **__: object) -> bool:
        pytest.fail("the study was started")

    monkeypatch.setattr("search.run.job.run", no_engine)
    return Setup(tmp_path, tiny_llama)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Prepared]:
    """What was prepared, in the order of the commands; no engine starts."""
    found: list[Prepared] = []
    monkeypatch.setattr("search.run.job.run", lambda p, *_: found.append(p) or "recommended")
    return found
