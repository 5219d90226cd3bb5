"""An exported winner on a fresh engine gives the answers that its trial has on record."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.commands import ROOT, environment
from tests.engine_process import run_code

STUDY = """
import sys
from pathlib import Path
from objectives.types import ItemResult, Score
from search.config import compose
from search.engine.live import Engine
from search.checkpoints.family import Family, fit
from search.merging.recipe import LayerSwap, Single, key, label
from search.records.items import pack_items
from search.records.record import Record
from search.records.head import StudyHead
from search.records.writer import RecordsWriter
from search.export.verify import engine_options
from search.config.scored import build_objectives

chosen = compose.load(sys.argv[2:], {"lang": "te"})
mgsm = build_objectives(chosen.objective, "te")["mgsm"]
requests = mgsm.requests("search")[:40]
family = fit(Family(**chosen.family.model_dump()).sources("te"))
engine = Engine(family, engine_options(chosen))
records = RecordsWriter.create(Path(sys.argv[1]), StudyHead("s", chosen.model_dump(mode="json")))
for recipe in (Single("task/0"), LayerSwap(0, 1, 1, 1, 1, 0, 0.4, 0.6)):
    engine.materialise(family.plan(recipe))
    items = [
        ItemResult("mgsm", f"{i}", request.prompt, c.text + "?" * (i == 2), c.n_tokens, "stop", {})
        for i, (request, c) in enumerate(zip(requests, engine.generate(requests), strict=True))
    ]
    assert len({item.completion for item in items}) > 10
    name, told = key(recipe, family.n_layers), label(recipe, "te", family.n_layers)
    scores = {name: Score(0.5, 0.4, 0.6, 40, 40) for name in ("accuracy", "lcpr")}
    record = Record(0, name, "search", "scored", "search", told, recipe, scores)
    records.append(record, pack_items(items))
engine.close()
"""


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment() | {"OMP_NUM_THREADS": "1", "VLLM_LOGGING_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trials of a live engine; of each, the third answer on record is not the model's."""
    folder = tmp_path_factory.mktemp("runs") / "s"
    run_code(STUDY, str(folder), "family=tests/e2e/small.yaml")
    return folder


def test_verify(study: Path, tmp_path: Path) -> None:
    """It finds the one answer that is not the model's, and no other."""
    exported = ["search.export", "--study", str(study), "--out", str(tmp_path / "merged")]
    done = command(*exported, "--verify", "--force")  # its two scores are equal
    assert "verified: 19 of 20 answers equal the trial's" in done.stdout, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "is on record" in line]
    assert "'?' is on record, the export says ''" in line
    assert done.returncode == 1
