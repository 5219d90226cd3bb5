"""One study over its life, with the real engine: begun, its journal lost, extended, imported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.records.bucket import Bucket
from search.records.reader import RecordsReader
from search.records.study_path import Url, locate
from tests.e2e.commands import ROOT, SMALL, environment, run, trials
from tests.e2e.conftest import TRIALS
from tests.search.s3_server import S3


@pytest.fixture(scope="module")
def out(undisturbed: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(undisturbed[0], tmp_path_factory.mktemp("runs") / "out")


@pytest.fixture(scope="module")
def first(out: Path) -> list[dict[str, Any]]:
    """The records of a finished study."""
    return trials(out / "first")


@pytest.fixture(scope="module")
def extended(first: list[dict[str, Any]], out: Path) -> list[dict[str, Any]]:
    """The same after its journal was lost and two more trials were asked for."""
    (out / "first" / "optuna.journal").unlink()
    run("--extend", str(out / "first"), "--trials=2")
    return trials(out / "first")


def _auto(out: Path) -> list[str]:
    study = ["--lang=te", f"--out={out}", "--study=first", "--resume=auto"]
    return [*study, f"--trials={TRIALS}", *SMALL]


def head(study: Path) -> dict[str, Any]:
    data = yaml.safe_load((study / "study.yaml").read_text("utf-8"))
    assert isinstance(data, dict)
    return data


def scored(found: list[dict[str, Any]], split: str = "search") -> list[str]:
    return [trial["key"] for trial in found if trial["split"] == split]


def test_a_finished_study_has_nothing_left_to_do(first: list[dict[str, Any]], out: Path) -> None:
    """The same command again starts no engine and changes no record."""
    assert Counter(t["origin"] for t in first)["search"] == TRIALS
    text = run(*_auto(out))
    assert trials(out / "first") == first and (
        "recommended" in text or "no recommendation: " in text
    )
    about = head(out / "first")
    assert about["finished"] and about["layers"] == 10
    assert set(about["family"]) == {"base", "task/0", "task/1", "lang/0", "lang/1"}
    assert set(about["data"]) == {"mgsm", "lcpr"}


def test_extended_after_its_journal_was_lost(
    first: list[dict[str, Any]], extended: list[dict[str, Any]], out: Path
) -> None:
    assert extended[: len(first)] == first
    new = extended[len(first) :]
    assert Counter(t["origin"] for t in extended)["search"] == TRIALS + 2
    assert Counter(t["origin"] for t in new)["search"] == 2
    assert {t["origin"] for t in new} <= {"search", "final"}
    for split in ("search", "held_out"):
        keys = scored(extended, split)
        assert len(set(keys)) == len(keys)
    about = head(out / "first")
    assert [(e["trials"], e["budget"]) for e in about["extensions"]] == [(2, TRIALS + 2)]
    assert about["config"]["search"]["trials"] == TRIALS + 2 and about["finished"]

    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    journal = JournalStorage(JournalFileBackend(str(out / "first" / "optuna.journal")))
    told = optuna.load_study(study_name="first", storage=journal).get_trials(
        states=(optuna.trial.TrialState.COMPLETE,)
    )
    values = {t.user_attrs["key"]: t.values[0] for t in told}
    known = [t for t in extended if t["origin"] in ("baseline", "search")]
    assert values.keys() == {t["key"] for t in known}
    for trial in known:  # of one that was stopped an estimate is told
        if trial["state"] == "scored":
            assert values[trial["key"]] == trial["scores"]["accuracy"]["value"]


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    server = S3()
    server.connect(monkeypatch)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    yield server
    server.stop()


def test_a_new_study_begins_with_the_best_of_another_language(
    extended: list[dict[str, Any]], out: Path, s3: S3
) -> None:
    """In an object store; default points come first, two of them: one for each pair."""
    source = out / "first"
    arguments = ["--lang=sw", f"--out={s3.url}", "--study=heir", "--trials=3", *SMALL]
    given = ["search.seed=7", "search.race=null", "search.baselines={ties: 0, slerp: 0}"]
    run(*arguments, *given, "--import", str(source))
    place = locate(f"{s3.url}/heir")
    heir = RecordsReader.read(place)
    about = heir.head()
    assert about.finished and about.config["lang"] == "sw"
    assert about.imported["study"] == str(source) and about.imported["id"] == head(source)["id"]
    wanted = [entry["from"] for entry in about.imported["recipes"]]
    assert 1 <= len(wanted) <= 5 and set(wanted) <= set(scored(extended))
    searched = [r.key for r in heir.trials if r.origin == "search"]
    assert len(searched) == 3 and set(searched[:2]) <= set(scored(extended))
    rest = [key for key in wanted if key not in searched[:2]]
    assert searched[2] == rest[0]
    assert all(r.state == "scored" and heir.items(r) for r in heir.trials)
    assert isinstance(place, Url)
    assert b" held-out items" in (Bucket(place, 0).get("report.md") or b"")


def test_the_view_is_made_again_from_the_records(
    extended: list[dict[str, Any]], out: Path, tmp_path: Path
) -> None:
    """In a copy of the store where it has runs already."""
    shutil.copy(out / "mlflow.db", tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    before = _runs(uri)
    command = ["search.sync", str(out / "first"), "--rebuild", "--tracking-uri", uri]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    after = _runs(uri)
    assert not {r.info.run_id for r in before} & {r.info.run_id for r in after}
    assert len(after) == len(before) == len(extended) + 1
    assert {_said(run) for run in after} == {_said(run) for run in before}


def _runs(uri: str) -> list[Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("layer-swap/small/te")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    return [run for run in found if run.data.tags["study"] == "first"]


def _said(run: Any) -> str:
    """What a run says of its trial or its study."""
    tags = {k: run.data.tags.get(k) for k in ("trial", "state", "number", "recommended", "reason")}
    metrics = {k: round(v, 6) for k, v in run.data.metrics.items()}
    return json.dumps([run.info.run_name, run.info.status, tags, metrics], sort_keys=True)


def test_the_list_of_studies(extended: list[dict[str, Any]], out: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "search.studies", str(out), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    (line,) = [x for x in json.loads(done.stdout) if Path(x["study"]).name == "first"]
    assert (line["state"], line["trials"], line["budget"]) == ("finished", TRIALS + 2, TRIALS + 2)
    keys = {t["label"]: t["key"] for t in extended}
    if line["no_recommendation"]:  # of so few trials
        assert line["best"] == "" and line["held_out"] == [None, None]
    else:
        assert keys[line["best"]] in scored(extended, "held_out")
        assert line["held_out"][0] is not None
