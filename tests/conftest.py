"""Fixtures that are made once for the whole test run.

What makes a family needs transformers, seconds of imports: it is loaded when a test asks for one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from search.checkpoints.family import Family
from search.common.garbage import keep_what_is_there, look_seldom
from search.records.head import StudyHead
from search.records.writer import RecordsWriter
from tests.examples import examples
from tests.made_once import made_once

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

    return made_once(architecture, folder, make)


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

    return made_once("mlflow", tmp_path_factory.getbasetemp(), make)


@pytest.fixture(scope="session")
def mlflow_store(mlflow_first_use: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    """An MLflow store to copy, as making one takes it seconds; it holds that one empty study."""
    return mlflow_first_use[0] / "mlflow.db"


@pytest.fixture(scope="session")
def demo_family() -> Family:
    """The shipped family."""
    from search.config import compose

    return Family(**compose.load([], {"lang": "te"}).family.model_dump())


WHOLE = ("cluster", "faults", "e2e")
"""Folders of tests that start Ray or an engine."""

LONGEST = (
    *("test_search", "test_extend", "test_cluster", "test_fresh_engine", "test_reproducible"),
    *("test_languages", "test_faults", "test_two_tasks", "test_own_process"),
)
"""Those of their files that take longest, in this order: begun first, or one core would idle at the
end. What stands behind a file with few tests is handed to the same process before they have ended
(xdist), so the longest of all do not stand together."""


ENGINES = (
    *("test_fresh_engine", "test_export", "test_direct", "test_engine_contract"),
    *("test_generation", "test_rebuild", "test_confused", "test_lm_eval"),
)
"""Those whose engines are forks of one process (`tests.engine_process`): none is loaded twice."""


class _Scheduling(LoadFileScheduling):
    """File by file, but for those that share what one process has loaded."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "engines" if Path(file).stem in ENGINES and "e2e" in file else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Which process gets which tests."""
    return _Scheduling(config, log)


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
