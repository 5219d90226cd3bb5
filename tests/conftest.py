"""Fixtures that are made once for the whole test run.

What makes a family needs transformers, seconds of imports: it is loaded when a test asks for one.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock
from hypothesis import settings

from search.checkpoints.family import Family
from search.common.garbage import keep_what_is_there, look_seldom
from search.records.head import StudyHead
from search.records.writer import RecordsWriter
from tests.examples import examples

T = TypeVar("T")

# a busy machine is no fault
settings.register_profile("untimed", deadline=None, max_examples=examples(100))
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A random 4-layer Llama family: 2 task and 2 Telugu experts; do not change its files."""
    return _family("llama", tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def tiny_qwen2(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A random 4-layer Qwen2 family (tied embeddings, biases); do not change its files."""
    return _family("qwen2", tmp_path_factory.getbasetemp())


def _family(architecture: str, folder: Path) -> Family:
    def make(place: Path) -> Family:
        from tests.families import make_family

        return make_family(place, architecture)

    return _made_once(architecture, folder, make)


@pytest.fixture(scope="session")
def mlflow_first_use(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A study without trials, sent by the command into a store that did not exist.

    The folder of studies, and how the command ended.
    """

    def make(place: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
        head = StudyHead("empty", {"lang": "te", "family": {"name": "empty"}})
        RecordsWriter.create(place / "empty", head).close()
        command = [sys.executable, "-m", "search.sync", str(place / "empty")]
        environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
        return place, subprocess.run(
            command, capture_output=True, text=True, timeout=240, env=environment
        )

    return _made_once("mlflow", tmp_path_factory.getbasetemp(), make)


@pytest.fixture(scope="session")
def mlflow_store(mlflow_first_use: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    """An MLflow store to copy, as making one takes it seconds; it holds that one empty study."""
    return mlflow_first_use[0] / "mlflow.db"


def _made_once(name: str, folder: Path, make: Callable[[Path], T]) -> T:
    """What all processes of a test run share; `make` gets the place of its files."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    known = folder / f"{name}.pickle"
    with FileLock(f"{known}.lock"):
        if not known.exists():
            known.write_bytes(pickle.dumps(make(folder / name)))
    made: T = pickle.loads(known.read_bytes())
    return made


@pytest.fixture(scope="session")
def demo_family() -> Family:
    """The shipped family."""
    from search.config import compose

    return Family(**compose.load([], {"lang": "te"}).family.model_dump())


WHOLE = ("cluster", "faults", "e2e")
"""Folders of tests that start Ray or an engine."""

LONGEST = (
    *("test_search", "test_extend", "test_cluster", "test_faults", "test_fresh_engine"),
    *("test_reproducible", "test_languages", "test_two_tasks", "test_own_process", "test_export"),
)
"""Those of their files that take longest, in this order: begun first, or one core would idle at the
end."""


def pytest_collection_finish() -> None:
    """What thousands of collected tests consist of is not looked through for garbage again."""
    keep_what_is_there()
    look_seldom()


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
