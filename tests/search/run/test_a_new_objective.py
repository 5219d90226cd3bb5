"""An objective of one's own is one module: that of docs/objectives.md, on the whole path.

Real are the configuration, the checks, the trial's runner, Optuna, the records and the report; the
engine is the fake one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "objectives.md"

CODE = """
import json, sys
from dataclasses import replace
from pathlib import Path
from objectives import targets
from search.config import compose
from search.records.head import StudyHead
from search.records.writer import RecordsWriter
from search.report import files
from search.report.material import Material
from search.results import tables
from search.run.prepare import prepare
from search.merging.space.swap import baselines
from search.study.dispatcher import Dispatcher
from search.study.order import Order
from search.study.outcome import ActorExit
from search.study.proposing.optuna_study import phase
from search.study.tracking.runs import metrics_of
from search.study.tuning.trainable import Job, TrialRunner
from tests.engine_options import engine_options
from tests.fake_engine import FakeEngine, Faults
from tests.schedules import schedule
from tests.search.run.test_a_new_objective import Quiet

out = Path(sys.argv[1])
own = ["objective.task=quiz:QuizSettings", "objective.own={file: " + sys.argv[2] + "}"]
own += ["objective.also=[mgsm]", "objective.constraints={in_language: 0.5}"]
config = compose.load(own, {"lang": "te"})
records = RecordsWriter.create(out / "s", StudyHead("s", config.model_dump(mode="json")))
prepared = prepare(config, "s", records, f"sqlite:///{out}/mlflow.db")
runner = TrialRunner(Job(
    prepared.family.locations, engine_options(), tuple(prepared.objectives.values()),
    targets=targets.TARGETS, engine=FakeEngine,
))
space = prepared.space
first = baselines(space, n_task=1, n_lang=1, soups="first")
plan = schedule(trials=4, startup_trials=2)
one = phase(plan, "search", 4, space, records, first)
order = Order([one], records.trials, space.n_layers, list, lag=1)
dispatcher = Dispatcher(order, records, Quiet(), [], lang="te", n_layers=space.n_layers)
while (running := dispatcher.hand_out("t")) is not None:
    outcome = runner.run(running.candidate.recipe, running.candidate.split)
    dispatcher.take_back("t", outcome, ActorExit("node"))
assert dispatcher.finished, dispatcher.fault
records.rewrite(replace(records.head(), layers=space.n_layers))
study = Material.of(records, running=False)
files.write(study, out)
page = (out / "report.html").read_text("utf-8")
choice = study.final.choice
trial = records.trials[-1]
print(json.dumps({
    "objectives": list(prepared.objectives),
    "directions": [d.name for d in one.study.directions],
    "told": max(len(t.values) for t in one.study.trials if t.values),
    "states": sorted({t.state for t in records.trials}),
    "scores": sorted(trial.scores),
    "metrics": [n for n in metrics_of(trial) if n.startswith("quiz")],
    "reason": choice.reason if choice else "",
    "table": next(x for x in tables.markdown(study.report).splitlines() if x.startswith("| role")),
    "drawn": sorted(file.name for file in out.iterdir() if file.is_file()),
    "page": "in language" in page,
    "trials": len(records.trials),
}))
"""


class Quiet:
    """A cluster that nothing happens to."""

    stopping = False
    excluded_nodes: tuple[str, ...] = ()
    n_dead = 0

    def max_running(self) -> int:
        return 1

    def dead(self) -> set[str]:
        return set()

    def exclude(self, node: str) -> None:
        raise AssertionError(node)

    def has_room(self) -> bool:
        return True

    def stop(self) -> None:
        self.stopping = True


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's module, and questions whose answers the fake engine sometimes gives."""
    folder = tmp_path_factory.mktemp("own")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
    assert len(code.splitlines()) < 75
    (folder / "quiz.py").write_text(code)
    lines = [{"question": f"{n} and {n + 1}?", "answer": "సీత"} for n in range(8)]
    (folder / "quiz.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.mark.slow
def test_an_objective_of_ones_own_is_configured_scored_optimised_and_shown(
    tmp_path: Path, written: Path
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path), str(written / "quiz.jsonl")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{written}:{ROOT}"},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["objectives"] == ["quiz", "lcpr", "mgsm"]
    assert found["directions"] == ["MAXIMIZE"] * 3 and found["told"] == 3
    assert "scored" in found["states"] and {"quiz", "lcpr", "in_language"} <= set(found["scores"])
    assert {"quiz", "quiz_low", "quiz_high", "quiz_n"} <= set(found["metrics"])
    assert "quiz %" in found["table"] and "in language %" in found["table"]
    assert found["page"] and found["drawn"] == [
        *("landscape.png", "pareto.png", "report.html", "report.md", "report.tsv")
    ]  # fmt: skip
