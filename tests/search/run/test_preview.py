"""What a command would run, without its study being made, taken or changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.common.errors import ConfigError, StudyError
from search.config import compose
from search.records.head import StudyHead
from search.records.writer import RecordsWriter
from search.run import preview

DATA = {"objective.lcpr.data_dir": "x", "objective.mgsm.data_dir": "x"}
CHOSEN = compose.load(["search.trials=5"], {"lang": "te", **DATA})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder of studies with one, which a driver holds."""
    head = StudyHead("s", CHOSEN.model_dump(mode="json"))
    RecordsWriter.create(tmp_path / "s", head)
    return tmp_path


def test_a_new_study_is_not_made(out: Path) -> None:
    found = preview.begin(CHOSEN, out, "t", out / "s")
    assert (found.name, found.records, found.source) == ("t", None, out / "s")
    assert preview.begin_or_resume(CHOSEN, out, "t").records is None
    assert sorted(file.name for file in out.iterdir()) == ["s"]


def test_one_that_is_there_is_read_while_a_driver_holds_it(out: Path) -> None:
    for found in (preview.begin_or_resume(CHOSEN, out, "s"), preview.resume(out / "s")):
        assert found.name == "s" and found.records is not None and found.config == CHOSEN
    assert preview.resume(out / "s", trials=7).config.search.trials == 12
    assert preview.resume(out / "s").config.search.trials == 5


def test_faults_are_those_of_a_run(out: Path) -> None:
    other = compose.load(["search.trials=6"], {"lang": "te", **DATA})
    with pytest.raises(StudyError, match="holds this study already: go on with --resume"):
        preview.begin(CHOSEN, out, "s")
    with pytest.raises(StudyError, match="exists with another configuration: search.trials"):
        preview.begin_or_resume(other, out, "s")
    with pytest.raises(StudyError, match="holds no study"):
        preview.resume(out / "t")
    with pytest.raises(ConfigError, match="leave out search.seed=1"):
        preview.resume(out / "s", ["search.seed=1"])
    with pytest.raises(ConfigError, match="cannot be a study's name"):
        preview.begin_or_resume(CHOSEN, out, "../s")
