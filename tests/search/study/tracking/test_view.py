"""MLflow as a view: what a run says, and that nothing is sent twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from objectives.types import ItemResult, Message
from search.merging.recipe import LayerSwap
from search.records.items import pack_items
from search.study.tracking.pages import TAG, pages
from search.study.tracking.runs import few_metrics_of, metrics_of
from tests.search.study.tracking.sent import client, load, runs, send, tracker, trial

pytestmark = pytest.mark.slow


def test_what_the_runs_of_a_study_say(uri: str, folder: Path) -> None:
    (folder / "report.md").write_text("table")
    sender = tracker(uri, folder, deep={"er": "x"})
    assert sender.start()
    for record in (trial(1), trial(2, "infeasible"), trial(3, "failed")):
        sender.put(record)
    held_out = trial(4, split="held_out", b=1)
    (folder / "items").mkdir()
    verdict = {"correct": True}
    item = ItemResult("mgsm", "7", (Message("user", "6*7?"),), "It is 42.", 5, "stop", verdict)
    (folder / held_out.items).write_bytes(pack_items([item]))
    sender.put(held_out)
    artifacts = [folder / "report.md", folder / "missing.png"]
    assert sender.finish(artifacts, {"held_out_accuracy": 58.0}, {"recommended": "te b1"}) == 0

    (parent,), children = runs(uri)
    assert parent.info.run_name == "te-study" and parent.info.status == "FINISHED"
    assert parent.data.params == {"lang": "te", "n": "1", "deep.er": "x"}
    assert parent.data.tags["git_commit"] == "abc" and parent.data.tags["recommended"] == "te b1"
    assert parent.data.tags["mlflow.note.content"].startswith("4 trials have ended")
    counts = {"trials": 4, "stopped": 0, "failed": 1, "tokens": 20_000, "best_accuracy": 58.0}
    assert parent.data.metrics == {"held_out_accuracy": 58.0, **counts}
    curve = client(uri).get_metric_history(parent.info.run_id, "trials")
    assert [(point.step, point.value) for point in curve] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    files = client(uri).list_artifacts(parent.info.run_id)
    assert [file.path for file in files] == ["report.md"]
    assert (
        folder.parent / "mlartifacts"
    ).is_dir()  # beside the store, not in the working directory

    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    by_name = {run.info.run_name: run for run in children}
    final = by_name["te b1 u1 tb1 tu0 w.60 m0-l1 (held-out)"]
    shown = [{"path": "answers.json", "type": "table"}]
    assert json.loads(final.data.tags["mlflow.loggedArtifacts"]) == shown
    assert load(uri, final.info.run_id, "answers.json")["data"] == [
        ["7", "mgsm", "6*7?", "It is 42.", '{"correct": true}']
    ]
    first = by_name["te b1 u1 tb1 tu0 w.60 m0-l1"]
    assert by_name.keys() >= {"te b1 u1 tb1 tu0 w.60 m0-l1 (held-out)"} and len(by_name) == 4
    progress = {"trial": 1, "best_accuracy": 58.0}
    assert first.data.metrics == {**few_metrics_of(trial(1)), **progress}
    assert load(uri, first.info.run_id, "metrics.json") == metrics_of(trial(1))
    assert first.data.params["b"] == "1" and first.data.params["pair"] == "m0-l1"
    assert json.loads(first.data.tags["recipe"])["w_lang"] == 0.6
    assert first.data.tags["items"] == str(folder / "items/x.jsonl.gz")
    assert first.data.tags["key"] == trial(1).key
    assert not {"reason", "cause"} & first.data.tags.keys()
    assert (first.info.start_time, first.info.end_time) == (1_699_999_998_000, 1_700_000_000_500)
    ends = {run.data.tags["state"]: run.info.status for run in children}
    assert ends == {"scored": "FINISHED", "infeasible": "FINISHED", "failed": "FAILED"}


def test_nothing_is_sent_twice_and_a_cut_run_is_completed(uri: str, folder: Path) -> None:
    assert send(uri, folder, [trial(1), trial(2)]) == 0
    before = {run.info.run_id for run in runs(uri)[1]}
    cut = next(iter(before))
    client(uri).update_run(cut, status="RUNNING")  # as a killed driver leaves it
    assert send(uri, folder, [trial(1), trial(1), trial(2), trial(3)]) == 0
    parents, children = runs(uri)
    assert len(parents) == 1 and parents[0].info.status == "FINISHED"
    assert len(children) == 3 and before < {run.info.run_id for run in children}
    assert {run.info.status for run in children} == {"FINISHED"}
    assert len(client(uri).get_metric_history(cut, "accuracy")) == 1


def test_a_trial_tried_again_replaces_what_its_run_says(uri: str, folder: Path) -> None:
    again = replace(
        trial(7, b=1), recipe=LayerSwap(0, 1, 1, 1, 1, 0, 4.0, 6.0), ended=1_700_000_100.0
    )
    failed = replace(trial(1, "failed"), cause="engine")
    assert send(uri, folder, [failed]) == 0
    _, (child,) = runs(uri)
    assert child.data.tags["cause"] == "engine" and "engine died" in child.data.tags["reason"]
    assert send(uri, folder, [failed, again, failed]) == 0
    _, (child,) = runs(uri)
    assert child.data.tags["cause"] == child.data.tags["reason"] == ""
    assert child.info.status == "FINISHED"
    assert child.data.tags["number"] == "7" and child.data.tags["state"] == "scored"


def test_an_answer_that_was_lost_makes_no_twin(
    uri: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    create = MlflowClient.create_run
    lost: list[Any] = []

    def create_and_lose(self: Any, *args: Any, **kwargs: Any) -> Any:
        run = create(self, *args, **kwargs)
        if len(lost) < 2:  # the parent's, then the first child's
            lost.append(run)
            raise ConnectionError("the answer did not arrive")
        return run

    monkeypatch.setattr(MlflowClient, "create_run", create_and_lose)
    assert send(uri, folder, [trial(1), trial(2)]) == 0
    parents, children = runs(uri)
    assert len(lost) == 2 and len(parents) == 1 and len(children) == 2
    assert {run.data.metrics["accuracy"] for run in children} == {58.0}


def test_a_resumed_study_keeps_its_run_and_says_what_changed(uri: str, folder: Path) -> None:
    assert send(uri, folder, [trial(1)]) == 0
    assert send(uri, folder, [], n=2, more=3) == 0
    (parent,), _ = runs(uri)
    assert parent.data.params == {"lang": "te", "n": "1", "more": "3"}
    assert parent.data.tags["changed/n"] == "2" and "changed/lang" not in parent.data.tags


def test_two_studies_of_one_name_stay_two(uri: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    assert send(uri, folder, [trial(1)]) == 0
    assert send(uri, tmp_path / "elsewhere", [trial(1)]) == 0
    parents, children = runs(uri)
    assert (len(parents), len(children)) == (2, 2)


def test_twins_of_a_late_answer_become_one(uri: str, folder: Path) -> None:
    """The server made a run whose answer nobody waited for, so it was made again."""
    assert send(uri, folder, [trial(1)]) == 0
    (parent,), (child,) = runs(uri)
    for run in (parent, child):  # earlier than those, as far as MLflow knows
        client(uri).create_run(run.info.experiment_id, 1, run.data.tags)
    assert [len(found) for found in runs(uri)] == [2, 2]
    assert send(uri, folder, [trial(1)]) == 0
    kept = [found[0].info.run_id for found in runs(uri) if len(found) == 1]
    assert kept == [parent.info.run_id, child.info.run_id]  # the complete ones


def test_the_views_of_a_study_come_and_go_with_it(uri: str, folder: Path) -> None:
    """One set for each study that has runs; tags of others are left alone."""
    send(uri, folder, [trial(1)])
    name = "layer-swap/demo/xx"
    mlflow = client(uri)
    number = mlflow.get_experiment_by_name(name).experiment_id
    own = {page.tag()[0] for page in pages(folder.name)}
    assert mlflow.get_experiment(number).tags.keys() == own | {"mlflow.experimentKind"}

    mlflow.set_experiment_tag(number, f"{TAG}persons", "deflate;x")
    mlflow.set_experiment_tag(number, f"{TAG}layer-swap-{folder.name}-old", "deflate;x")
    mlflow.set_experiment_tag(number, "mlflow.experimentKind", "regression")
    mlflow.set_experiment_tag(number, min(own), "deflate;of other columns")
    for run in sum(runs(uri), []):
        mlflow.delete_run(run.info.run_id)
    other = folder.parent / "other"
    other.mkdir()
    send(uri, other, [])
    tags = mlflow.get_experiment(number).tags
    theirs = {page.tag()[0] for page in pages("other")}
    assert tags.keys() == theirs | {f"{TAG}persons", "mlflow.experimentKind"}
    assert tags["mlflow.experimentKind"] == "regression"
    send(uri, folder, [trial(1)], rebuild=True)
    assert (
        mlflow.get_experiment(number).tags.items()
        >= dict(p.tag() for p in pages(folder.name)).items()
    )


def test_a_store_that_takes_no_tags_takes_the_runs(
    uri: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
    from mlflow.tracking import MlflowClient

    def refuse(*_: object) -> None:
        raise MlflowException("you may not", error_code=PERMISSION_DENIED)

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", refuse)
    assert send(uri, folder, [trial(1)]) == 0
    assert "MLflow keeps no views: " in caplog.text and len(runs(uri)[1]) == 1
