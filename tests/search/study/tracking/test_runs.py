"""How a study and its records look in MLflow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from objectives.types import Score
from search.merging.recipe import Components, LayerSwap, Layerwise, Recipe, Single
from search.records.record import Record, Stopped
from search.study.tracking.runs import (
    Progress,
    default_uri,
    experiment_name,
    few_metrics_of,
    is_server,
    metrics_of,
    params,
    params_of,
)
from tests.search.study.tracking.sent import trial


def test_metrics_are_percentages_accuracy_and_lcpr_first() -> None:
    found = metrics_of(trial(1))
    assert list(found)[:4] == ["accuracy", "accuracy_low", "accuracy_high", "accuracy_n"]
    assert list(found)[4] == "lcpr"
    assert found["accuracy"] == 58.0 and found["lcpr_low"] == 94.0 and found["lcpr_n"] == 98
    assert "wpr" not in found and found["wpr_n"] == 0
    assert found["tokens_per_s"] == 2500.0 and found["materialise_s"] == 0.05
    assert "tokens_per_s" not in metrics_of(replace(trial(1), seconds={}))


def test_params_are_flat_with_names_that_mlflow_takes() -> None:
    flat = params({"a": {"b c": 1, "é*": None}, "x": (1, 2), "long": "y" * 9000})
    assert flat["a.b c"] == "1" and flat["a.__"] == "None" and flat["x"] == "(1, 2)"
    assert len(flat["long"]) == 5000


@pytest.mark.parametrize(
    ("uri", "server"),
    [("http://h:5000", True), ("https://h", True), ("sqlite:////x.db", False), ("/folder", False)],
)
def test_what_is_a_server(uri: str, server: bool) -> None:
    assert is_server(uri) is server


def test_the_default_store_is_absolute_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_uri(Path("runs")) == f"sqlite:///{tmp_path}/runs/mlflow.db"


def test_experiments_are_named_by_family_and_language() -> None:
    assert experiment_name("demo", "te") == "layer-swap/demo/te"


def test_scores_of_a_stopped_trial_are_not_among_those_of_all_items() -> None:
    stopped = Stopped(50, 100, 0.61, "best", 0.03)
    record = Record(
        0,
        "k",
        "search",
        "stopped",
        "search",
        "",
        Single("base"),
        {"accuracy": Score(0.5, 0.4, 0.6, 50, 50)},
        stopped=stopped,
    )
    found = metrics_of(record)
    assert not any(name.startswith("accuracy") for name in found)
    assert (found["first_items_accuracy"], found["first_items_accuracy_n"]) == (50.0, 50)
    assert (found["estimate"], found["chance"]) == (61.0, 3.0)


def test_few_metrics_are_what_people_compare() -> None:
    found, whole = few_metrics_of(trial(1)), metrics_of(trial(1))
    assert found.items() <= whole.items() and len(found) < len(whole)
    assert found.keys() >= {
        "accuracy",
        "accuracy_low",
        "accuracy_high",
        "lcpr",
        "tokens",
        "total_s",
    }
    assert "in_language" in found and "in_language_low" not in found and "written" not in found


def test_progress_counts_each_record_once() -> None:
    progress = Progress()
    worse = replace(trial(2), scores={"accuracy": Score(0.5, 0.4, 0.6, 150, 150)})
    first, own = progress.add(trial(1))
    assert first["best_accuracy"] == own["best_accuracy"] == 58.0 and own["trial"] == 1
    second = progress.add(worse)
    assert second[0] == {
        "best_accuracy": 58.0,
        "trials": 2,
        "stopped": 0,
        "failed": 0,
        "tokens": 10_000,
    }
    assert progress.add(worse) == second  # sent again after an outage
    third, own = progress.add(trial(3, "failed", "held_out"))
    assert third["failed"] == 1 and third["trials"] == 3 and own == {}


@pytest.mark.parametrize(
    ("recipe", "wanted"),
    [
        (LayerSwap(0, 1, 2, 1, 1, 0), {"b": "2", "t_b": "1", "w_lang": "0.5", "pair": "m0-l1"}),
        (Components(0, 1, 2, 1, 1, 0, 0, 0), {"b_attn": "2", "u_mlp": "0", "pair": "m0-l1"}),
        (Layerwise(0, 1, (1.0, 0.25)), {"block_0": "1.0", "block_1": "0.25", "pair": "m0-l1"}),
        (Single("base"), {"source": "base"}),
    ],
)
def test_a_trials_params_are_the_numbers_of_its_form(
    recipe: Recipe, wanted: dict[str, str]
) -> None:
    found = params_of(replace(trial(1), recipe=recipe))
    assert wanted.items() <= found.items() and "share" not in found
