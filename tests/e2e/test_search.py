"""Whole searches on the demo family: records, table, MLflow, Ctrl-C, kill, resume."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.commands import SMALL, run, start, trials
from tests.e2e.conftest import TRIALS

BASELINES = 1 + 2 + 2 + 1


@pytest.fixture(scope="module")
def out(undisturbed: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(undisturbed[0], tmp_path_factory.mktemp("runs") / "out")


@pytest.fixture(scope="module")
def output(undisturbed: tuple[Path, str]) -> str:
    """What a search prints that nothing disturbs."""
    return undisturbed[1]


@dataclass(frozen=True)
class Disturbed:
    """What two searches left that ran at the same time: one killed, then one stopped by Ctrl-C."""

    killed: list[dict[str, Any]]
    stopped: str
    exit_status: int
    heard_at: set[str]


@pytest.fixture(scope="module")
def disturbed(out: Path) -> Iterator[Disturbed]:
    common = ["--lang", "te", f"--out={out}", *SMALL]
    stopped = start(*common, "--study=stopped", "--trials=500")
    killed = start(*common, "--study=killed", f"--trials={TRIALS}")
    try:
        wait_for_trials(out / "killed", BASELINES + 3, killed)  # in the search, after the baselines
        killed.kill()
        killed.wait()
        wait_for_trials(out / "stopped", BASELINES, stopped)
        heard_at = addresses(stopped.pid)
        stopped.send_signal(signal.SIGINT)
        text, _ = stopped.communicate(timeout=300)
        yield Disturbed(trials(out / "killed"), text, stopped.returncode, heard_at)
    finally:
        for process in (killed, stopped):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def addresses(pid: int) -> set[str]:
    """Where a process and all that it started listen."""
    found = set()
    driver = psutil.Process(pid)
    for process in (driver, *driver.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            sockets = process.net_connections("inet")
            found |= {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}
    return found


def counts(study: Path) -> Counter[str]:
    return Counter(trial["origin"] for trial in trials(study))


def wait_for_trials(study: Path, n: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 400
    while len(trials(study)) < n:
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < deadline, f"{len(trials(study))} trials only"
        time.sleep(0.2)


def test_table_and_records(output: str, out: Path) -> None:
    for words in ("recommended", "default recipe", "best soup", "control", "language expert"):
        assert words in output
    assert "best TIES" in output and "best SLERP" in output
    assert output.count("look at it: python -m search.ui ") == 2  # at its start and its end
    found = trials(out / "first")
    assert counts(out / "first")["search"] == TRIALS
    assert counts(out / "first")["baseline"] == BASELINES
    assert counts(out / "first")["ties"] == counts(out / "first")["slerp"] == 1
    assert {t["state"] for t in found} <= {"scored", "stopped"}, [t["reason"] for t in found]
    assert all(t["state"] == "scored" for t in found if t["origin"] in ("baseline", "final"))
    for trial in found:
        accuracy = trial["scores"]["accuracy"]
        asked = {"search": 60, "held_out": 24}[trial["split"]]
        asked = trial["stopped"]["items"] if trial["state"] == "stopped" else asked
        assert accuracy["n_scored"] == accuracy["n_total"] == asked
        assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
        assert (out / "first" / trial["items"]).is_file()
    names = ("study.yaml", "report.html", "report.md", "report.tsv", "pareto.png", "landscape.png")
    for file in names:
        assert (out / "first" / file).stat().st_size > 200


def test_search_and_held_out_items_never_overlap(output: str, out: Path) -> None:
    from search.records.writer import RecordsWriter

    records = RecordsWriter.open(out / "first")
    ids: dict[str, set[str]] = {"search": set(), "held_out": set()}
    for record in records.trials:
        ids[record.split] |= {item.id for item in records.items(record)}
    records.close()
    assert [len(ids[split]) for split in ("search", "held_out")] == [60 + 12, 24 + 12]
    assert not ids["search"] & ids["held_out"]


def test_mlflow_holds_parent_and_children(output: str, out: Path) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{out}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "layer-swap/small/te"]
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    (parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    children = {r.info.run_name: r for r in runs if r is not parent}
    assert parent.info.run_name == "first" and parent.info.status == "FINISHED"
    assert {a.path for a in client.list_artifacts(parent.info.run_id)} >= {
        "report.html",
        "report.md",
        "pareto.png",
        "landscape.png",
        "study.yaml",
    }
    found = trials(out / "first")
    assert len(children) == len(found)
    for trial in found:
        name = trial["label"] + (" (held-out)" if trial["split"] == "held_out" else "")
        child = children[name]
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.data.tags["key"] == trial["key"]
        assert child.data.tags["state"] == trial["state"]
        expected = 100 * trial["scores"]["accuracy"]["value"]
        name = "first_items_accuracy" if trial["state"] == "stopped" else "accuracy"
        assert child.data.metrics[name] == pytest.approx(expected)
        assert {"total_s", "tokens"} <= set(child.data.metrics)
    assert {"best_accuracy", "trials", "tokens"} <= set(parent.data.metrics)


def test_killed_driver_resumes(disturbed: Disturbed, out: Path) -> None:
    """After kill -9 in mid-search nothing that ended is lost or scored again."""
    study = out / "killed"
    text = run("--resume", str(study))
    after = trials(study)
    assert len(disturbed.killed) >= BASELINES + 3
    assert after[: len(disturbed.killed)] == disturbed.killed
    assert len({(t["key"], t["split"]) for t in after}) == len(after)
    assert counts(study)["search"] == TRIALS and counts(study)["baseline"] == BASELINES
    assert counts(study)["final"] == counts(out / "first")["final"]
    assert "recommended" in text


def test_servers_are_on_loopback(disturbed: Disturbed) -> None:
    heard_at = {address.removeprefix("::ffff:") for address in disturbed.heard_at}
    assert heard_at == {"127.0.0.1"}


def test_ctrl_c_ends_in_order(disturbed: Disturbed, out: Path) -> None:
    study, text = out / "stopped", disturbed.stopped
    assert disturbed.exit_status == 130, text[-3000:]
    assert f"go on with: python -m search.run --resume {study}" in text
    assert "SEARCH items (optimistic)" in text
    assert len(trials(study)) >= BASELINES
