"""An engine that fails takes its process with it, where engines must not share one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from search.checkpoints.family import Family
from tests.e2e.commands import ROOT, environment, trials

SCRIPT = """
import json, os, signal, sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from search.records.head import StudyHead
from search.records.writer import RecordsWriter
from search.merging.space.swap import make_space
from search.study.tuning.engines import Engines
from search.study.tuning.trainable import Job
from search.study.tuning.tune import run_study
from tests.engine_options import engine_options
from tests.fake_engine import FakeEngine, Faults
from tests.schedules import schedule
from tests.search.study.tuning.test_trainable import Echo

folder = Path(sys.argv[2])
job = Job(json.loads(sys.argv[1]), engine_options(), (Echo("m", "accuracy"), Echo("w", "lcpr")),
          own_process=True, engine=partial(FakeEngine, faults=Faults(folder)))
plan = schedule(trials=4, sampler="random", race=None, cpus_per_engine=1)
with Engines({"first": job, "second": job}) as engines:
    for name in ("first", "second"):
        records = RecordsWriter.create(folder / name, StudyHead(name, {}))
        run_study(
            replace(plan, name=name), engines=engines,
            space=make_space(lang="te", n_layers=4, n_task=1, n_lang=1),
            records=records, baselines=[], final=list, listeners=[],
        )
        if name == "first":
            for pid in {record.host.split(":")[1] for record in records.trials}:
                os.kill(int(pid), signal.SIGKILL)
        records.close()
"""


@pytest.fixture(scope="module")
def studies(tiny_llama: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies, the first with an engine that dies; those that are left die before the second.

    Their folder.
    """
    folder = tmp_path_factory.mktemp("studies")
    sources = {name: str(path) for name, path in tiny_llama.sources("te").items()}
    (folder / "dead").touch()  # whoever generates next, once
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(sources), str(folder)],
        capture_output=True,
        text=True,
        timeout=500,
        cwd=ROOT,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def hosts(study: Path) -> set[str]:
    return {trial["host"].split(":")[1] for trial in trials(study)}


def test_an_engine_that_fails_is_built_in_another_process(studies: Path) -> None:
    found = trials(studies / "first")
    assert [t["state"] for t in found] == ["scored"] * 4
    assert [t["attempts"] for t in found] == [2, 1, 1, 1]
    failed = next(studies.glob("dead.*")).name.split(".")[1]
    assert len(hosts(studies / "first")) == 1
    assert failed not in hosts(studies / "first")  # the one that failed answered nothing more
    assert not Path(f"/proc/{failed}").exists()


def test_engines_that_are_gone_between_two_studies_are_built_anew(studies: Path) -> None:
    assert [t["state"] for t in trials(studies / "second")] == ["scored"] * 4
    assert not hosts(studies / "second") & hosts(studies / "first")
