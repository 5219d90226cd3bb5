"""An objective of one's own on a cluster of two nodes: the job brings its package along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from search.run.__main__ import UNDECIDED
from tests.cluster.nodes import TOKEN, Nodes
from tests.e2e.commands import ROOT, SMALL, environment, trials

DRIVER = """
import functools, shutil, sys
from pathlib import Path

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
import search.run.job
from search.run.__main__ import main
from search.study.tuning.trainable import Job
from tests.fake_engine import FakeEngine

def job(*arguments, **named):
    shutil.rmtree(folder)  # workers of one machine would find it there
    return Job(*arguments, engine=FakeEngine, **named)

search.run.job.Job = job
sys.exit(main(sys.argv[2:]))
"""

QUIZ = """
from objectives.settings import Positive, Settings
from objectives.stats import proportion
from objectives.target import Target
from objectives.types import Evaluation, ItemResult, Request, Sampling

from .words import negative

class QuizSettings(Settings):
    target = Target("negative", "homemade", "negative", item="negative")
    items: Positive = 20

    def build(self, shared):
        return Quiz(self.items)

class Quiz:
    name = "homemade"
    split_hash = "0"

    def __init__(self, items):
        self.items = items

    def requests(self, split, decoding=None):
        return [Request(f"{n}, 1, 2 and 3?", Sampling(8)) for n in range(self.items)]

    def score(self, split, completions, decoding=None, *, first=None):
        said = [negative(c.text) for c in completions]
        items = tuple(
            ItemResult("homemade", f"{split} {n}", "", "", 1, "stop", {"negative": one})
            for n, one in enumerate(said)
        )
        right = sum(i.verdict["negative"] for i in items)
        return Evaluation({"negative": proportion(right, len(items), len(items))}, items, None)
"""
WORDS = """
SIGN = "-"

def negative(text):
    return SIGN in text
"""


@pytest.mark.long
def test_a_package_that_is_on_the_drivers_path_alone(tmp_path: Path) -> None:
    package = tmp_path / "driver_only" / "homemade"
    package.mkdir(parents=True)
    for name, text in (("__init__", ""), ("quiz", QUIZ), ("words", WORDS)):
        (package / f"{name}.py").write_text(text, "utf-8")
    command = [sys.executable, "-c", DRIVER, str(package.parent), "--lang=te", f"--out={tmp_path}"]
    command += ["--study=own", "--trials=8", *SMALL, "search.engines=2", "search.race=null"]
    command += ["objective.task=homemade.quiz:QuizSettings", "objective.own={items: 12}"]
    with Nodes(tmp_path) as cluster:
        for _ in range(2):
            cluster.add(cpus=1)
        own = environment() | TOKEN | {"RAY_ADDRESS": cluster.address}
        done = subprocess.run(
            command, cwd=ROOT, env=own, capture_output=True, text=True, timeout=300
        )
    assert done.returncode in (0, UNDECIDED), done.stdout[-5000:] + done.stderr[-3000:]
    assert not package.exists()
    found = trials(tmp_path / "own")
    assert {t["state"] for t in found} == {"scored"}, [t["reason"] for t in found]
    assert sum(t["origin"] == "search" for t in found) == 8
    assert len({t["host"] for t in found}) >= 2  # an engine on each node
    assert {t["scores"]["negative"]["n_total"] for t in found} == {12}
    assert len({t["scores"]["negative"]["value"] for t in found}) > 1
