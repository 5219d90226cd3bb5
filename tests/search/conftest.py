"""MLflow's store for the tests that send something to it.

One empty sqlite store is made for the whole run (it takes MLflow seconds) and copied for each test.
"""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from search.study.tracking.runs import default_uri


@pytest.fixture
def uri(mlflow_store: Path, tmp_path: Path) -> str:
    """A store of this test's own, which holds one empty study besides."""
    shutil.copy(mlflow_store, tmp_path / "mlflow.db")
    return default_uri(tmp_path)


@pytest.fixture
def port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
