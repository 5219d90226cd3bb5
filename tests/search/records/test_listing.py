"""Which studies there are in a folder; of object stores, test_remote.py says it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from search.common.errors import StudyError
from search.records.listing import is_held, named, studies
from search.records.writer import RecordsWriter
from tests.search.records.samples import HEAD


def test_studies_of_a_folder(tmp_path: Path) -> None:
    made = [RecordsWriter.create(tmp_path / n, replace(HEAD, name=n)) for n in ("b", "a")]
    (tmp_path / "notes").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "odd" / "study.yaml").mkdir(parents=True)
    assert studies(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    made[0].close()
    assert [is_held(place) for place in studies(tmp_path)] == [True, False]
    made[1].close()


@pytest.mark.parametrize("name", ["missing", "file"])
def test_what_is_no_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match=f"{name} cannot be read: No"):
        studies(tmp_path / name)


def test_the_study_that_a_user_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        StudyError, match=r"runs: no such folder; begin a study with python -m search.run"
    ):
        named("")
    for number, name in enumerate(("new", "old")):
        RecordsWriter.create(tmp_path / "runs" / name, replace(HEAD, name=name)).close()
        os.utime(tmp_path / "runs" / name / "study.yaml", (1000 - number, 1000 - number))
        (tmp_path / "runs" / name / "trials.jsonl").unlink(missing_ok=True)
    assert named("") == Path("runs/new") and named(str(tmp_path / "runs")).name == "new"
    (tmp_path / "runs" / "old" / "trials.jsonl").write_text("")
    assert named("") == Path("runs/old")
    assert named("runs/new") == Path("runs/new")
    with pytest.raises(
        StudyError, match=r"nwe: no such folder \(did you mean runs/new\?\); python"
    ):
        named("nwe")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StudyError, match="empty holds no study; name one"):
        named("empty")
