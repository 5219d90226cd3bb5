"""MLflow's store for the tests that send something to it.

One empty sqlite store is made for the whole run (it takes MLflow seconds) and copied for each test.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from search.records.writer import RecordsWriter
from search.tracking.runs import default_uri
from tests.search.tracking.sent import HEAD


@pytest.fixture(scope="session")
def first_use(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A study without trials, sent by the command into a store that did not exist."""
    out = tmp_path_factory.mktemp("out")
    RecordsWriter.create(out / "empty", HEAD).close()
    command = [sys.executable, "-m", "search.sync", str(out / "empty")]
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    return out, done


@pytest.fixture
def uri(first_use: tuple[Path, Any], tmp_path: Path) -> str:
    """A store of this test's own, which holds one empty study besides."""
    shutil.copy(first_use[0] / "mlflow.db", tmp_path / "mlflow.db")
    return default_uri(tmp_path)


@pytest.fixture
def port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
