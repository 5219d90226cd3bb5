"""MLflow as a view: what a run says, nothing sent twice, and servers that are away or silent.

One empty sqlite store is made for the module (it takes MLflow seconds) and copied for each test.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from objectives.types import Score, Split
from search import sync
from search.errors import StudyError
from search.masking import masked
from search.merging.recipe import LayerSwap, key, label
from search.records.head import StudyHead
from search.records.record import Record, State
from search.records.writer import RecordsWriter
from search.tracking import outbox
from search.tracking.outbox import Outbox, address
from search.tracking.runs import default_uri, experiment_name, metrics_of
from search.tracking.view import answers
from tests.mlflow_server import MlflowServer

pytestmark = pytest.mark.slow

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


@pytest.fixture(scope="module")
def first_use(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A study without trials, sent by the command into a store that did not exist."""
    out = tmp_path_factory.mktemp("out")
    RecordsWriter.create(out / "empty", HEAD).close()
    command = [sys.executable, "-m", "search.sync", str(out / "empty")]
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    return out, done


@pytest.fixture
def uri(first_use: tuple[Path, Any], tmp_path: Path) -> str:
    """A store of this test's own, which holds one empty study besides."""
    shutil.copy(first_use[0] / "mlflow.db", tmp_path / "mlflow.db")
    return default_uri(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "te-study").mkdir()
    return tmp_path / "te-study"


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:pw@host:5000/x", "http://***@host:5000/x"),
        ("postgresql://u:p%40w@db/mlflow", "postgresql://***@db/mlflow"),
        ("failed at https://u:pw@h/api?a=1: refused", "failed at https://***@h/api?a=1: refused"),
        ("mysql://h/db?user=me&password=pw&x=1", "mysql://h/db?user=me&password=***&x=1"),
        ("sqlite:////out/mlflow.db", "sqlite:////out/mlflow.db"),
        ("http://host/a@b", "http://host/a@b"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("http://me:p@ss@host:5000/x", "http://***@host:5000/x"),
        ("http://me:p/ss@host/x", "http://***@host/x"),
        ("https://hf_abc@host/x", "https://***@host/x"),
        ("http://h/?access_token=pw&x=1", "http://h/?access_token=***&x=1"),
        ("http://h/?API_KEY=pw", "http://h/?API_KEY=***"),
        ("s3://b/r?X-Amz-Security-Token=pw&sig=pw", "s3://b/r?X-Amz-Security-Token=***&sig=***"),
        ("max_num_batched_tokens=2048 < 4096", "max_num_batched_tokens=2048 < 4096"),
        ("tokenizer=gpt2, eos_token=</s>, key=value", "tokenizer=gpt2, eos_token=</s>, key=value"),
        ("postgresql://me:***@host/db", "postgresql://me:***@host/db"),
        ("http://[::1]:5000/a@b", "http://[::1]:5000/a@b"),
    ],
)
def test_passwords_are_masked(text: str, shown: str) -> None:
    assert str(StudyError(text)) == shown  # whatever an error quotes
    assert masked(text) == shown


def test_first_use_of_the_default_store_is_quiet(first_use: tuple[Path, Any]) -> None:
    out, done = first_use
    store = f"sqlite:///{out}/mlflow.db"
    assert done.stdout == f"{store} holds the 0 trials of {out / 'empty'}\n"
    assert (done.stderr, done.returncode) == ("", 0)


def test_what_the_runs_of_a_study_say(uri: str, folder: Path) -> None:
    (folder / "report.md").write_text("table")
    sender = tracker(uri, folder, deep={"er": "x"})
    assert sender.start()
    for record in (trial(1), trial(2, "infeasible"), trial(3, "failed")):
        sender.put(record)
    sender.put(trial(4, split="held_out", b=1))
    artifacts = [folder / "report.md", folder / "missing.png"]
    assert sender.finish(artifacts, {"held_out_accuracy": 58.0}, {"recommended": "te b1"}) == 0

    (parent,), children = runs(uri)
    assert parent.info.run_name == "te-study" and parent.info.status == "FINISHED"
    assert parent.data.params == {"lang": "te", "n": "1", "deep.er": "x"}
    assert parent.data.tags["git_commit"] == "abc" and parent.data.tags["recommended"] == "te b1"
    assert "percentages" in parent.data.tags["mlflow.note.content"]
    assert parent.data.metrics == {"held_out_accuracy": 58.0}
    files = client(uri).list_artifacts(parent.info.run_id)
    assert [file.path for file in files] == ["report.md"]
    assert (
        folder.parent / "mlartifacts"
    ).is_dir()  # beside the store, not in the working directory

    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    by_name = {run.info.run_name: run for run in children}
    first = by_name["te b1 u1 tb1 tu0 w.60 m0-l1"]
    assert by_name.keys() >= {"te b1 u1 tb1 tu0 w.60 m0-l1 (held-out)"} and len(by_name) == 4
    assert first.data.metrics == metrics_of(trial(1))
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


def test_a_refused_record_does_not_hold_up_the_others(
    uri: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = replace(trial(1), scores={"bad*name": Score(0.5, 0.4, 0.6, 1, 1)})
    assert send(uri, folder, [bad, trial(2)]) == 1
    assert f"MLflow refuses {bad.label}" in caplog.text
    ended = [r.data.tags["number"] for r in runs(uri)[1] if r.info.status == "FINISHED"]
    assert ended == ["2"]


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


def test_a_deleted_experiment_is_restored(uri: str, folder: Path) -> None:
    assert send(uri, folder, []) == 0
    experiment = client(uri).get_experiment_by_name("layer-swap/demo/xx")
    client(uri).delete_experiment(experiment.experiment_id)
    assert send(uri, folder, [trial(1)]) == 0
    assert len(runs(uri)[1]) == 1


def test_a_broken_identity_is_a_clear_error(folder: Path) -> None:
    (folder / "mlflow.json").write_text("[]")
    with pytest.raises(StudyError, match=r"mlflow\.json cannot be used.*remove it"):
        tracker("sqlite:///unused.db", folder)


def test_a_study_is_sent_where_it_was_sent_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the commands that are printed at the end find the server; passwords are not kept."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    own = default_uri(folder.parent)
    assert address(folder) == own
    tracker("http://me:hunter2@mlflow:5000", folder)
    assert address(folder) == own and "hunter2" not in (folder / "mlflow.json").read_text()
    tracker("http://mlflow:5000", folder)
    assert address(folder) == "http://mlflow:5000"
    assert address(folder, "http://other:5000") == "http://other:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://third:5000")
    assert address(folder) == "http://third:5000"


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


@pytest.fixture
def port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield server.getsockname()[1]


def test_who_answers(port: int, silent: int) -> None:
    assert answers("sqlite:////anywhere/mlflow.db", 1)
    assert not answers(f"http://127.0.0.1:{port}", 1)
    assert not answers(f"http://127.0.0.1:{silent}", 0.2)
    assert not answers("http://[broken", 1)


@pytest.mark.timeout(120)
def test_a_silent_server_holds_nothing_up(
    silent: int,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(outbox, "ANSWER_SECONDS", 2.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    sender = tracker(f"http://me:hunter2@127.0.0.1:{silent}", folder)
    assert not sender.start()
    for number in range(3):
        sender.put(trial(number))
    assert sender.finish() == 4  # and the parent
    out, err = capfd.readouterr()
    assert "hunter2" not in caplog.text + out + err


@pytest.mark.timeout(300)
def test_runs_are_sent_when_the_server_is_back(
    uri: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MlflowServer(tmp_path, uri) as server:
        sender = tracker(server.address, folder)
        assert not sender.start()
        for number in range(3):
            sender.put(trial(number))
        server.start()
        (folder / "report.md").write_text("table")
        monkeypatch.setattr(outbox, "ANSWER_SECONDS", 60.0)  # a busy machine is not an outage
        assert sender.finish([folder / "report.md"]) == 0
        (parent,), children = runs(server.address)
        assert len(children) == 3 and parent.info.status == "FINISHED"
        files = client(server.address).list_artifacts(parent.info.run_id)
        assert [file.path for file in files] == ["report.md"]


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


def test_rebuild_makes_the_whole_view_again(
    uri: str, tmp_path: Path, first_use: tuple[Path, Any]
) -> None:
    """Also after MLflow's database was lost; runs of other studies are left alone."""
    for name in ("mine", "other"):
        records = RecordsWriter.create(tmp_path / "runs" / name, replace(HEAD, id=name))
        for number in range(2):
            records.append(trial(number))
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
    assert len(parents_again) == 2 and len(children_again) == 6
    (mended,) = [r for r in children_again if _is(r, "mine", trial(1))]
    assert mended.data.metrics == metrics_of(trial(1)) and mended.info.run_id != spoiled.info.run_id
    (parent,) = [r for r in parents_again if r.data.tags["study_id"] == "mine"]
    assert parent.data.metrics["held_out_accuracy"] == pytest.approx(58)
    assert parent.data.tags["recommended"] == trial(0).label
    others = {r.info.run_id for r in children if r.data.tags["study_id"] == "other"}
    assert others < {r.info.run_id for r in children_again}

    lost = default_uri(tmp_path / "new")
    (tmp_path / "new").mkdir()
    shutil.copy(first_use[0] / "mlflow.db", tmp_path / "new" / "mlflow.db")
    assert sync.main([*command, lost]) == 0
    parents, children = _of_study(lost)
    assert len(parents) == 1 and len(children) == 3


def _with_tolerance() -> dict[str, Any]:
    return {**HEAD.config, "search": {"trials": 40, "tolerance": 0.02}}


def _is(run: Any, study: str, record: Record) -> bool:
    tags = run.data.tags
    return bool(tags["study_id"] == study and tags["trial"] == f"{record.key}.{record.split}")


HOSTILE = "http://me:hunter2@127.0.0.1:{port}/?token=hunter3&api_key=hunter4"


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
    assert "still lacks 2 runs" in err
    written = [f.read_bytes() for f in (tmp_path / "runs").rglob("*") if f.is_file()]
    assert len(written) >= 4
    for secret in ("hunter2", "hunter3", "hunter4"):
        assert secret not in caplog.text + out + err
        assert not any(secret.encode() in data for data in written)
