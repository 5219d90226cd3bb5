"""An empty study for a test to fill."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.records.head import StudyHead
from search.records.writer import RecordsWriter


@pytest.fixture
def records(tmp_path: Path) -> RecordsWriter:
    return RecordsWriter.create(tmp_path / "study", StudyHead("study", {}))
