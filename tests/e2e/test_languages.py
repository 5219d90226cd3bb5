"""Two languages in one command, killed between them: the rest is done, and nothing of it twice.

The engine is the fake one; `Engine.adopt` is held to its contract in test_engine_contract.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from search.records.reader import RecordsReader
from tests.e2e.commands import SMALL, finish, start, trials
from tests.e2e.test_search import wait_for_trials

LANGS = ("te", "sw")


@dataclass(frozen=True)
class Killed:
    """What a run left that was killed in its second study, and what going on with it printed."""

    out: Path
    before: dict[str, list[dict[str, Any]]]
    report: bytes
    printed: str


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, mlflow_store: Path) -> Iterator[Killed]:
    out = tmp_path_factory.mktemp("runs")
    shutil.copy(mlflow_store, out)
    (out / "faults").mkdir()
    process = command(out, seconds=0.3)
    try:
        wait_for_trials(out / "s-sw", 3, process)
        process.kill()
        process.wait()
        before = {lang: trials(out / f"s-{lang}") for lang in LANGS}
        done = [bool(RecordsReader.read(out / f"s-{lang}").head().finished) for lang in LANGS]
        assert done == [True, False]
        report = (out / "s-te" / "report.tsv").read_bytes()
        process = command(out, seconds=0.0)
        yield Killed(out, before, report, finish(process))
    finally:
        process.kill()


def command(out: Path, seconds: float) -> subprocess.Popen[str]:
    """The command, which begins its studies or goes on with them."""
    faults = json.dumps({"folder": str(out / "faults"), "seconds": seconds})
    arguments = ["--lang=te,sw", f"--out={out}", "--study=s", "--resume=auto", "--trials=3"]
    own = ["space.pairs=[[0,0]]", "search.baselines={ties: 0, slerp: 0}", "search.sampler=random"]
    return start(faults, *arguments, *SMALL, *own, module="tests.faults.driver")


def test_an_engine_goes_on_with_the_next_language(killed: Killed) -> None:
    """It was built once, and answered both."""
    hosts = [{trial["host"] for trial in killed.before[lang]} for lang in LANGS]
    assert len(hosts[0]) == 1 and hosts[1] == hosts[0]


def test_nothing_is_scored_twice(killed: Killed) -> None:
    after = {lang: trials(killed.out / f"s-{lang}") for lang in LANGS}
    assert after["te"] == killed.before["te"]
    assert (killed.out / "s-te" / "report.tsv").read_bytes() == killed.report
    assert after["sw"][: len(killed.before["sw"])] == killed.before["sw"]
    for found in after.values():
        scored = [(trial["key"], trial["split"]) for trial in found]
        assert len(set(scored)) == len(scored)
    te, sw = (Counter(trial["origin"] for trial in found) for found in after.values())
    assert te["search"] == sw["search"] == 3 and te["baseline"] == sw["baseline"]
    assert te["final"] and sw["final"]
    assert "it is finished already" in killed.printed


def test_the_summary_has_every_language(killed: Killed) -> None:
    _, _, table = killed.printed.partition("held-out accuracy / LCPR, in percent")
    html = (killed.out / "summary.html").read_text("utf-8")
    rows = (killed.out / "summary.tsv").read_text("utf-8").splitlines()[1:]
    assert {tuple(row.split("\t")[:2]) for row in rows} == {("te", "s-te"), ("sw", "s-sw")}
    for lang in LANGS:
        (line,) = [x for x in table.splitlines() if x.split()[:1] == [lang]]
        assert line.split()[-1] in ("finished", "undecided")
        assert f">{lang}<" in html
    assert "go on with" not in killed.printed


def test_mlflow_has_the_studies_under_one_run(killed: Killed) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{killed.out}/mlflow.db")

    def runs(name: str, found: str) -> Any:
        experiment = client.get_experiment_by_name(f"layer-swap/small/{name}")
        assert experiment is not None
        return client.search_runs([experiment.experiment_id], found)

    (above,) = runs("languages", "")
    assert above.info.status == "FINISHED" and above.data.tags["mlflow.note.content"].count("|") > 9
    for lang in LANGS:
        (parent,) = runs(lang, f"tags.study = 's-{lang}' and attributes.run_name = 's-{lang}'")
        assert parent.data.tags["mlflow.parentRunId"] == above.info.run_id
        assert parent.info.status == "FINISHED"
        held = trials(killed.out / f"s-{lang}")
        assert len(runs(lang, f"tags.mlflow.parentRunId = '{parent.info.run_id}'")) == len(held)
