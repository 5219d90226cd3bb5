"""Fixtures that are made once for the whole test run.

What makes a family needs transformers, seconds of imports: it is loaded when a test asks for one.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from search.checkpoints.family import Family

settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A random 4-layer Llama family: 2 task and 2 Telugu experts; do not change its files."""
    return _made_once("llama", tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def tiny_qwen2(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A random 4-layer Qwen2 family (tied embeddings, biases); do not change its files."""
    return _made_once("qwen2", tmp_path_factory.getbasetemp())


def _made_once(architecture: str, folder: Path) -> Family:
    """A family that all processes of a test run share."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    known = folder / f"{architecture}.pickle"
    with FileLock(f"{known}.lock"):
        if not known.exists():
            from tests.families import make_family

            known.write_bytes(pickle.dumps(make_family(folder / architecture, architecture)))
    family: Family = pickle.loads(known.read_bytes())
    return family


@pytest.fixture(scope="session")
def demo_family() -> Family:
    """The shipped family."""
    from search.config import compose

    return Family(**compose.load([], {"lang": "te"}).family.model_dump())


WHOLE = ("cluster", "faults", "e2e")
"""Folders of tests that start Ray or an engine."""

LONGEST = ("test_search", "test_extend", "test_fresh_engine", "test_cluster", "test_faults")
"""Those of their files that take minutes, in this order: begun first, or one core would idle at the
end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the whole runs and put them last: what fails fast is seen first."""
    for item in items:
        if set(WHOLE) & set(item.path.parts):
            item.add_marker("whole")
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    if not set(WHOLE) & set(item.path.parts):
        return -1
    name = item.path.stem
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)
