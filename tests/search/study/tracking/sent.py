"""Records, how they are sent to MLflow, and what it holds then; for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from objectives.types import Score, Split
from search.merging.recipe import LayerSwap, Single, key, label
from search.records.head import StudyHead
from search.records.record import Record, State
from search.study.tracking.outbox import Outbox
from search.study.tracking.runs import experiment_name

L = 10
HEAD = StudyHead("te-study", {"lang": "te", "family": {"name": "demo"}, "search": {"trials": 40}})


def trial(
    number: int, state: State = "scored", split: Split = "search", b: int | None = None
) -> Record:
    recipe = LayerSwap(0, 1, number if b is None else b, 1, 1, 0, 0.4, 0.6)
    return Record(
        number=number,
        key=key(recipe, L),
        split=split,
        state=state,
        origin="search",
        label=label(recipe, "te", L),
        recipe=recipe,
        scores={
            "in_language": Score(1.0, 0.98, 1.0, 150, 150),
            "wpr": Score(None, None, None, 0, 100),
            "lcpr": Score(0.97, 0.94, 0.99, 98, 100),
            "accuracy": Score(0.58, 0.5, 0.66, 150, 150),
        },
        reason="" if state == "scored" else "engine died: out of memory",
        seconds={"materialise": 0.05, "generate": 2.0, "score": 0.1, "total": 2.5},
        tokens=5000,
        written=1000,
        layers=3,
        ended=1_700_000_000.5,
        host="box:17",
        items="items/x.jsonl.gz",
    )


def poor_base(number: int) -> Record:
    """The base, far enough below all of `trial` for the best of them to be recommended."""
    recipe, poor = Single("base"), Score(0.1, 0.06, 0.16, 150, 150)
    found = trial(0)
    return replace(
        found,
        number=number,
        recipe=recipe,
        key=key(recipe, L),
        label=label(recipe, "te", L),
        origin="baseline",
        scores={**found.scores, "accuracy": poor},
    )


def tracker(uri: str, folder: Path, *, rebuild: bool = False, **params: Any) -> Outbox:
    tags = {"host": "box", "git_commit": "abc"}
    name = experiment_name("demo", "xx")  # the store's empty study has an experiment of its own
    head = StudyHead("te-study", {"lang": "te", "n": 1, **params}, id=folder.name)
    return Outbox(uri, name, head, tags, folder, rebuild=rebuild)


def send(
    uri: str, folder: Path, records: list[Record], *, rebuild: bool = False, **params: Any
) -> int:
    sender = tracker(uri, folder, rebuild=rebuild, **params)
    assert sender.start()
    for record in records:
        sender.put(record)
    return sender.finish()


def client(uri: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


def runs(uri: str, experiment: str = "layer-swap/demo/xx") -> tuple[list[Any], list[Any]]:
    """Parents and children, oldest first."""
    mlflow = client(uri)
    number = mlflow.get_experiment_by_name(experiment).experiment_id
    found = mlflow.search_runs([number], order_by=["attributes.start_time ASC"])
    children = [run for run in found if "mlflow.parentRunId" in run.data.tags]
    return [run for run in found if run not in children], children


def load(uri: str, run_id: str, artifact: str) -> Any:
    """What a JSON artifact of a run holds."""
    from mlflow.artifacts import load_dict

    artifacts = client(uri).get_run(run_id).info.artifact_uri
    return load_dict(f"{artifacts}/{artifact}")
