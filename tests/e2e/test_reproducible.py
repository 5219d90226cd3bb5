"""The same search twice on two engines that end their trials in another order: the same table."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.commands import SMALL, finish, start, trials


def search(out: Path, seed: str) -> subprocess.Popen[str]:
    arguments = ["--lang=te", "--trials=16", f"--out={out}", "--study=s", *SMALL]
    return start(seed, *arguments, "search.engines=2", module="tests.e2e.uneven")


def proposed(study: Path) -> list[dict[str, Any]]:
    """Parameters of Optuna's trials in the order in which they were asked for."""
    found: dict[int, dict[str, Any]] = {}
    for line in (study / "optuna.journal").read_text("utf-8").splitlines():
        entry = json.loads(line)
        if "param_name" in entry:
            place = entry["trial_id"]
            found.setdefault(place, {})[entry["param_name"]] = entry["param_value_internal"]
    return [found[place] for place in sorted(found)]


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory, mlflow_store: Path) -> list[Path]:
    """Two studies of one configuration and seed."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in ("1", "2"):
        (folder / seed).mkdir()
        shutil.copy(mlflow_store, folder / seed)
        finish(search(folder / seed, seed))
    return [folder / seed / "s" for seed in ("1", "2")]


def test_the_trials_ended_in_another_order(twice: list[Path]) -> None:
    """Or the test would show nothing."""
    keys = [[(t["key"], t["split"]) for t in trials(study)] for study in twice]
    assert keys[0] != keys[1]
    hosts = [len({t["host"] for t in trials(study)}) for study in twice]
    assert max(hosts) >= 2  # on a busy machine an engine may start when nearly all is done


def test_the_same_recipes_are_proposed_in_the_same_order(twice: list[Path]) -> None:
    one, other = map(proposed, twice)
    assert len(one) >= 16 and one == other


def test_the_same_trials_are_stopped_for_the_same_reason(twice: list[Path]) -> None:
    stopped = [
        {t["key"]: (t["stopped"], t["reason"]) for t in trials(study) if t["state"] == "stopped"}
        for study in twice
    ]
    assert stopped[0] == stopped[1] and stopped[0]


def test_the_same_table_is_printed(twice: list[Path]) -> None:
    tables = [(study / "report.tsv").read_text("utf-8") for study in twice]
    assert tables[0] == tables[1] and len(tables[0].splitlines()) > 8
    notes = [(study / "report.md").read_text("utf-8") for study in twice]
    assert notes[0] == notes[1]


def test_study_yaml_holds_the_number_of_engines(twice: list[Path]) -> None:
    head = yaml.safe_load((twice[0] / "study.yaml").read_text("utf-8"))
    assert head["config"]["search"]["engines"] == 2
    assert head["config"]["search"]["reproducible"] is None
