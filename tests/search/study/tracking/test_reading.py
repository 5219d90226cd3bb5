"""What is read back from MLflow, for who has no records."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.common.errors import StudyError
from search.study.tracking.pages import pages
from search.study.tracking.reading import find_study, read_study
from tests.search.study.tracking.sent import client, runs, send, trial

pytestmark = pytest.mark.slow


def test_where_a_study_is(uri: str, folder: Path) -> None:
    name = "layer-swap/demo/xx"
    send(uri, folder, [trial(1)])
    found = find_study(uri, name, folder.name)
    assert found is not None
    number, tags = found
    assert number == client(uri).get_experiment_by_name(name).experiment_id
    assert tags == {page.tag()[0] for page in pages(folder.name)} | {"mlflow.experimentKind"}
    assert find_study(uri, name, "another") is None and find_study(uri, "no", "x") is None


def test_a_study_is_read_from_any_of_its_runs(uri: str, folder: Path) -> None:
    send(uri, folder, [trial(1), trial(2)])
    (parent,), children = runs(uri)
    for run in (parent, *children):
        found = read_study(uri, run.info.run_id)
        assert found[0].id == run.info.run_id
        assert {one.id for one in found} == {r.info.run_id for r in (parent, *children)}


def test_a_run_that_is_not_there_or_not_ours(uri: str, folder: Path) -> None:
    send(uri, folder, [])
    other = client(uri).create_run("0").info.run_id
    with pytest.raises(StudyError, match=f"run {other} at .* is no run of a study of ours"):
        read_study(uri, other)
    with pytest.raises(StudyError, match="run nothere cannot be read from"):
        read_study(uri, "nothere")
