"""An engine that fails takes its process with it, where engines must not share one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from search.checkpoints.family import Family
from tests.e2e.commands import ROOT, environment, trials

SCRIPT = """
import json, sys
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
records = RecordsWriter.create(folder / "study", StudyHead("study", {}))
job = Job(json.loads(sys.argv[1]), engine_options(), (Echo("m", "accuracy"), Echo("w", "lcpr")),
          own_process=True, engine=partial(FakeEngine, faults=Faults(folder)))
with Engines({"s": job}) as engines:
    run_study(
        schedule(trials=4, sampler="random", race=None, cpus_per_engine=1),
        engines=engines, space=make_space(lang="te", n_layers=4, n_task=1, n_lang=1),
        records=records, baselines=[], final=list, listeners=[],
    )
records.close()
"""


def test_an_engine_that_fails_is_built_in_another_process(
    tiny_llama: Family, tmp_path: Path
) -> None:
    sources = {name: str(path) for name, path in tiny_llama.sources("te").items()}
    (tmp_path / "dead").touch()  # whoever generates next, once
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(sources), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = trials(tmp_path / "study")
    assert [t["state"] for t in found] == ["scored"] * 4
    assert [t["attempts"] for t in found] == [2, 1, 1, 1]
    failed = next(tmp_path.glob("dead.*")).name.split(".")[1]
    hosts = {t["host"].split(":")[1] for t in found}
    assert len(hosts) == 1 and failed not in hosts  # the one that failed answered nothing more
    assert not Path(f"/proc/{failed}").exists()
