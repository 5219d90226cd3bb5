"""When something is sent to MLflow and where to: refusals, and servers that are away or silent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from objectives.types import Score
from search.common.ending import ENDING
from search.common.errors import ConfigError, StudyError
from search.study.tracking import outbox
from search.study.tracking.outbox import address
from search.study.tracking.runs import default_uri
from tests.mlflow_server import MlflowServer
from tests.search.study.tracking.sent import client, runs, send, tracker, trial


@pytest.mark.slow
def test_a_refused_record_does_not_hold_up_the_others(
    uri: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = replace(trial(1), scores={"bad*name": Score(0.5, 0.4, 0.6, 1, 1)})
    assert send(uri, folder, [bad, trial(2)], search={"mlflow": {"metrics": "all"}}) == 1
    assert f"MLflow refuses {bad.label}" in caplog.text
    ended = [r.data.tags["number"] for r in runs(uri)[1] if r.info.status == "FINISHED"]
    assert ended == ["2"]


def test_a_broken_identity_is_a_clear_error(folder: Path) -> None:
    (folder / "mlflow.json").write_text("[]")
    with pytest.raises(StudyError, match=r"mlflow\.json cannot be used.*remove it"):
        tracker("sqlite:///unused.db", folder)


def test_a_study_is_sent_where_it_was_sent_before_if_that_is_trusted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's study could name a stranger's server; passwords are not kept."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    own = default_uri(folder.parent)
    assert address(folder) == own
    tracker("http://me:hunter2@mlflow:5000", folder)
    assert address(folder) == own and "hunter2" not in (folder / "mlflow.json").read_text()
    tracker("http://mlflow:5000", folder)
    with pytest.raises(
        ConfigError, match=r"sent to http://mlflow:5000, .*--tracking-uri http://ml"
    ):
        address(folder)  # the study may be somebody else's
    assert address(folder, trusted=True) == "http://mlflow:5000"
    assert address(folder, "http://other:5000") == "http://other:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://third:5000")
    assert address(folder) == "http://third:5000"


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "mlflow.json cannot be used: "),
        (b"\xff", "mlflow.json cannot be used: "),
        (b'{"tags": [1]}', "it does not hold a study's tags"),
        (b'{"tags": {"host": 1}}', "it does not hold a study's tags"),
        (b'{"uri": null}', "its address is None"),
        (b"[" * 100_000, "mlflow.json cannot be used: "),
    ],
)
def test_where_a_study_was_sent_cannot_be_read(
    folder: Path, content: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (folder / "mlflow.json").write_bytes(content)
    with pytest.raises(StudyError, match=message):
        address(folder)
    assert address(folder, "http://mlflow:5000") == "http://mlflow:5000"  # nothing to look up


def test_tags_of_earlier_drivers_are_kept(folder: Path) -> None:
    """They were on other machines, whose tags a later driver does not know."""
    (folder / "mlflow.json").write_text('{"tags": {"host": "old", "version.ray": "1"}}')
    tracker("http://mlflow:5000", folder)
    known = json.loads((folder / "mlflow.json").read_text())
    tags = {"host": "box", "version.ray": "1", "git_commit": "abc"}
    assert known == {"tags": tags, "uri": "http://mlflow:5000"}
    tracker(default_uri(folder.parent), folder)  # beside the study: found without being named
    assert json.loads((folder / "mlflow.json").read_text()) == {"tags": tags}


def test_an_identity_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"nowhere/mlflow\.json cannot be written: "):
        tracker("http://mlflow:5000", tmp_path / "nowhere")


@pytest.mark.timeout(60)
def test_a_search_that_was_told_to_end_waits_for_no_server(
    port: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler kills it soon: what waits is counted, and stays in the records."""
    monkeypatch.setattr(outbox, "ANSWER_SECONDS", 1.0)
    sender = tracker(f"http://127.0.0.1:{port}", folder)
    assert not sender.start()
    sender.put(trial(1))
    monkeypatch.setattr(outbox, "ANSWER_SECONDS", 10_000.0)
    monkeypatch.setattr(outbox, "QUIET_SECONDS", 10_000.0)
    monkeypatch.setattr(outbox, "ENDING_SECONDS", 0.0)
    monkeypatch.setattr(ENDING, "_told", True)
    assert sender.finish() == 2  # and the parent
