"""Several studies under one run in MLflow, whose own runs are found again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from search import sync
from search.common.errors import StudyError
from search.records.writer import RecordsWriter
from search.study.tracking.gathering import gather
from search.study.tracking.runs import experiment_name
from tests.search.study.tracking.sent import HEAD, trial


def study(folder: Path, name: str) -> Path:
    records = RecordsWriter.create(folder / name, replace(HEAD, name=name, id=name))
    records.append(replace(trial(1), items=""))
    records.close()
    return folder / name


@pytest.mark.slow
def test_studies_stand_under_one_run_and_are_found_again(
    mlflow_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(mlflow_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    places = [study(tmp_path, name) for name in ("one", "two")]
    assert [sync.main([str(place)]) for place in places] == [0, 0]
    config = HEAD.config
    own = experiment_name(config["family"]["name"], config["lang"])
    summary = tmp_path / "summary.html"
    summary.write_text("<p>both</p>")
    given = {"te": (own, "one"), "sw": (own, "two")}

    def once(accuracy: float) -> str:
        metrics = {"te_recommended_accuracy": accuracy}
        return gather(uri, "all", given, note="a table", metrics=metrics, files=[summary])

    run = once(50.0)
    assert once(60.0) == run  # the same studies: the same run, brought up to date
    client = MlflowClient(tracking_uri=uri)
    data = client.get_run(run).data
    assert data.metrics == {"te_recommended_accuracy": 60.0}
    assert data.tags["mlflow.note.content"] == "a table"
    assert [file.path for file in client.list_artifacts(run)] == ["summary.html"]

    def runs() -> dict[str, str]:
        place = client.get_experiment_by_name(own).experiment_id
        found = client.search_runs([place], "tags.study_id = 'one'")
        return {r.info.run_id: r.data.tags.get("mlflow.parentRunId", "") for r in found}

    before = runs()
    parents = [name for name, above in before.items() if above == run]
    assert len(parents) == 1 and set(before.values()) == {run, parents[0]}
    assert sync.main([str(places[0])]) == 0  # it is known for the study's own parent all the same
    assert runs() == before


def test_no_store_is_said(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="there is no MLflow store"):
        gather(f"sqlite:///{tmp_path}/none.db", "all", {}, note="", metrics={}, files=[])
