"""`search.sync`: what MLflow lacks is sent, all is made again, and no secret is written."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search import sync
from search.records.record import Record
from search.records.writer import RecordsWriter
from search.study.tracking import outbox
from search.study.tracking.outbox import address, remember
from search.study.tracking.runs import default_uri, few_metrics_of
from tests.search.study.tracking.sent import HEAD, L, client, poor_base, runs, trial


@pytest.mark.slow
def test_first_use_of_the_default_store_is_quiet(mlflow_first_use: tuple[Path, Any]) -> None:
    out, done = mlflow_first_use
    store = f"sqlite:///{out}/mlflow.db"
    assert done.stdout == f"{store} holds the 0 trials of {out / 'empty'}\n"
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.slow
def test_sync_sends_what_is_lacking(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = RecordsWriter.create(tmp_path / "runs" / "study", replace(HEAD, id="study"))
    for number in range(3):
        records.append(trial(number), b"x")
    records.close()
    command = [str(tmp_path / "runs" / "study"), "--tracking-uri", uri]
    assert sync.main(command) == 0
    assert "holds the 3 trials" in capsys.readouterr().out
    (parent,), children = _of_study(uri)
    assert parent.info.status == "KILLED" and len(children) == 3  # it was interrupted
    records.rewrite(replace(records.head(), finished="2026-01-01T00:00:00Z"))
    assert sync.main(command) == 0
    (again,), children_again = _of_study(uri)
    assert again.info.run_id == parent.info.run_id and again.info.status == "FINISHED"
    assert {r.info.run_id for r in children} == {r.info.run_id for r in children_again}


def _of_study(uri: str) -> tuple[list[Any], list[Any]]:
    parents, children = runs(uri, "layer-swap/demo/te")
    of_children = {run.data.tags["study_id"] for run in children}
    return [run for run in parents if run.data.tags["study_id"] in of_children], children


def test_sync_of_what_is_no_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sync.main([str(tmp_path), "--tracking-uri", "sqlite:///unused.db"]) == 2
    assert "holds no study" in capsys.readouterr().err


@pytest.mark.slow
def test_rebuild_makes_the_whole_view_again(uri: str, tmp_path: Path, mlflow_store: Path) -> None:
    """Also after MLflow's database was lost; runs of other studies are left alone."""
    for name in ("mine", "other"):
        records = RecordsWriter.create(tmp_path / "runs" / name, replace(HEAD, id=name))
        for number in range(2):
            records.append(trial(number))
        if name == "mine":
            records.append(poor_base(3))
        records.append(trial(2, split="held_out", b=0))  # of two equals the recommended one
        records.rewrite(replace(records.head(), layers=L, config=_with_tolerance()))
        records.close()
        assert sync.main([str(tmp_path / "runs" / name), "--tracking-uri", uri]) == 0
    parents, children = _of_study(uri)
    (spoiled,) = [r for r in children if _is(r, "mine", trial(1))]
    client(uri).log_metric(spoiled.info.run_id, "accuracy", 3.0)  # what no record says
    client(uri).create_run(spoiled.info.experiment_id, tags={**spoiled.data.tags})  # a twin

    command = [str(tmp_path / "runs" / "mine"), "--rebuild", "--tracking-uri"]
    assert sync.main([*command, uri]) == 0
    parents_again, children_again = _of_study(uri)
    assert len(parents_again) == 2 and len(children_again) == 7
    (mended,) = [r for r in children_again if _is(r, "mine", trial(1))]
    assert mended.data.metrics.items() >= few_metrics_of(trial(1)).items()
    assert mended.info.run_id != spoiled.info.run_id
    (parent,) = [r for r in parents_again if r.data.tags["study_id"] == "mine"]
    assert parent.data.metrics["held_out_accuracy"] == pytest.approx(58)
    assert parent.data.tags["recommended"] == trial(0).label
    (alike,) = [r for r in parents_again if r.data.tags["study_id"] == "other"]
    assert alike.data.tags["recommended"] == "none" and "more items" in alike.data.tags["reason"]
    others = {r.info.run_id for r in children if r.data.tags["study_id"] == "other"}
    assert others < {r.info.run_id for r in children_again}

    lost = default_uri(tmp_path / "new")
    (tmp_path / "new").mkdir()
    shutil.copy(mlflow_store, tmp_path / "new" / "mlflow.db")
    assert sync.main([*command, lost]) == 0
    parents, children = _of_study(lost)
    assert len(parents) == 1 and len(children) == 4


def _with_tolerance() -> dict[str, Any]:
    return {**HEAD.config, "search": {"trials": 40, "tolerance": 0.02}}


def _is(run: Any, study: str, record: Record) -> bool:
    tags = run.data.tags
    return bool(tags["study_id"] == study and tags["trial"] == f"{record.key}.{record.split}")


HOSTILE = "http://me:hunter2@127.0.0.1:{port}/?token=hunter3&api_key=hunter4"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_no_secret_of_an_address_is_written_anywhere(
    port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(outbox, "ANSWER_SECONDS", 2.0)
    caplog.set_level(0)
    records = RecordsWriter.create(tmp_path / "runs" / "s", replace(HEAD, id="s"))
    records.append(trial(1), b"x")
    records.close()
    command = [str(tmp_path / "runs" / "s"), "--tracking-uri", HOSTILE.format(port=port)]
    assert sync.main(command) == 1
    out, err = capfd.readouterr()
    assert "still lacks 2 of the 2 runs of" in err and "its 1 trial, and its own)" in err
    written = [f.read_bytes() for f in (tmp_path / "runs").rglob("*") if f.is_file()]
    assert len(written) >= 4
    for secret in ("hunter2", "hunter3", "hunter4"):
        assert secret not in caplog.text + out + err
        assert not any(secret.encode() in data for data in written)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that refuses is given up at once, and none is in the environment."""
    monkeypatch.setattr(outbox, "ANSWER_SECONDS", 0.5)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("before", ["", "http://mlflow:5000"])
def test_an_address_that_fails_is_not_the_study_s(
    tmp_path: Path, before: str, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    records = RecordsWriter.create(tmp_path / "s", replace(HEAD, id="s"))
    for number in (0, 1, 1):  # the second was tried again
        records.append(replace(trial(number), state="failed", scores={}, reason="r"))
    records.close()
    if before:
        remember(tmp_path / "s", before)
    assert sync.main([str(tmp_path / "s"), "--tracking-uri", f"http://127.0.0.1:{port}"]) == 1
    assert "still lacks 3 of the 3 runs of" in capsys.readouterr().err
    assert address(tmp_path / "s", trusted=True) == (before or default_uri(tmp_path))


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_an_old_store_is_answered_with_the_whole_remedy(
    tmp_path: Path, mlflow_store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(mlflow_store, tmp_path / "old.db")
    with sqlite3.connect(tmp_path / "old.db") as store:
        store.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    RecordsWriter.create(tmp_path / "s", replace(HEAD, id="s")).close()
    uri = f"sqlite:///{tmp_path / 'old.db'}"
    assert sync.main([str(tmp_path / "s"), "--tracking-uri", uri]) == 1
    assert f"then run 'mlflow db upgrade {uri}' to migrate your database" in caplog.text
    assert address(tmp_path / "s") == default_uri(tmp_path)
    assert sync.main([str(tmp_path / "s"), "--tracking-uri", f"sqlite:///{mlflow_store}"]) == 0
    assert address(tmp_path / "s", trusted=True) == f"sqlite:///{mlflow_store}"


def test_a_study_whose_identity_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One error, and the study can be used again."""
    RecordsWriter.create(tmp_path / "s", HEAD).close()
    (tmp_path / "s" / "mlflow.json").write_text("[]")
    for command in ([str(tmp_path / "s")], [str(tmp_path / "s"), "--tracking-uri", "http://x"]):
        assert sync.main(command) == 2
        assert "mlflow.json cannot be used" in capsys.readouterr().err
    RecordsWriter.open(tmp_path / "s").close()


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_strangers_study_is_sent_to_nobody(
    tmp_path: Path, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    RecordsWriter.create(tmp_path / "s", HEAD).close()
    remember(tmp_path / "s", f"http://127.0.0.1:{port}")
    assert sync.main([str(tmp_path / "s")]) == 2
    assert f"sent to http://127.0.0.1:{port}, which this command" in capsys.readouterr().err
    assert sync.main([str(tmp_path / "s"), "--trust-addresses"]) == 1
    assert f"http://127.0.0.1:{port} still lacks" in capsys.readouterr().err


def test_a_study_that_a_search_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = RecordsWriter.create(tmp_path / "s", HEAD)
    assert sync.main([str(tmp_path / "s"), "--tracking-uri", "sqlite:///unused.db"]) == 2
    assert "in use by another running search" in capsys.readouterr().err
    records.close()
