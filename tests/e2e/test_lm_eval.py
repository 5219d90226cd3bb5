"""A live engine's scores of lm-evaluation-harness's tasks are the harness's own on the export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from search.checkpoints.family import Family
from tests.engine_process import named, run_code
from tests.objectives.lm_eval_yamls import NAMES, write

pytest.importorskip("lm_eval")

CODE = """
import json, sys, time
from pathlib import Path
from tempfile import mkdtemp
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
from objectives.lm_eval import LmEvalObjective
from objectives.lm_eval_tasks import load
from search.checkpoints.family import fit
from search.engine.live import Engine
from search.export.writer import write_export
from search.merging.recipe import LayerSwap
from tests.engine_options import engine_options

if __name__ == "__main__":
    named = dict(pair.split("=", 1) for pair in sys.argv[1:])
    folder, names = named.pop("folder"), named.pop("names").split(",")
    family = fit(named, check_finite=False)
    engine = Engine(family, engine_options(max_num_seqs=16, enforce_eager=True, dtype="float32"))
    merged = family.plan(LayerSwap(0, 0, 3, 2, 0, 0))
    engine.materialise(merged)
    tasks = load(names, Path(folder), code=False, fetch=False)
    objective = LmEvalObjective(tasks, len(tasks.items) - 1, 1, seed=0)
    items = []
    for split in ("search", "held_out"):
        start = time.perf_counter()
        answers = engine.generate(objective.requests(split))
        print("seconds of the engine", time.perf_counter() - start, file=sys.stderr)
        items += objective.score(split, answers).items
    engine.close()
    out = Path(mkdtemp()) / "merged"
    write_export(merged, family.sources, family.base, out)
    manager = TaskManager(include_path=folder, include_defaults=False)
    theirs = simple_evaluate(
        "hf",
        model_args={"pretrained": str(out), "dtype": "float32"},
        tasks=names,
        task_manager=manager,
        device="cpu",
        batch_size=1,
        bootstrap_iters=0,
    )
    figures = []
    for name, metric in tasks.main.items():
        mine = [i.verdict for i in items if i.verdict["task"] == name]
        mean = sum(v["value"] for v in mine) / sum(v["weight"] for v in mine)
        key = metric if "," in metric else next(
            k for k in theirs["results"][name] if k.startswith(metric + ",")
        )
        ours = tasks.figure(name, metric, mean)
        figures.append([name, metric, ours, theirs["results"][name][key]])
    print(json.dumps(figures))
"""


def test_equal_to_the_harness(demo_family: Family, tmp_path: Path) -> None:
    folder = write(tmp_path / "tasks")
    given = demo_family.sources("te") | {"folder": folder, "names": ",".join(NAMES)}
    found = json.loads(run_code(CODE, *named(given)).splitlines()[-1])
    assert len(found) == 7
    for name, _, ours, theirs in found:
        near = 1e-3 if name in ("cloze", "prose") else 0
        assert ours == pytest.approx(theirs, rel=near, abs=0), name
