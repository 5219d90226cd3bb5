"""A rewrite that fails half way: the real engine is rebuilt in its process and answers the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from search.checkpoints.family import Family

SCRIPT = """
import json, sys
from objectives.types import Request, Sampling
from search.engine.writer import DirectWriter
from search.engine.live import Engine
from search.merging.recipe import LayerSwap, Single
from search.study.tuning.trainable import Job, TrialRunner
from tests.engine_options import engine_options
from tests.search.study.tuning.test_trainable import Echo

write, calls = DirectWriter._write, [0]

def breaks_once(*arguments):
    calls[0] += 1
    if calls[0] == 40:  # in the second rewrite, after its first modules are written
        raise RuntimeError("the disk is gone")
    return write(*arguments)

DirectWriter._write = breaks_once
options = engine_options(max_num_seqs=16, enforce_eager=True)
echoes = Echo("m", "accuracy"), Echo("w", "lcpr")
runner = TrialRunner(Job(json.loads(sys.argv[1]), options, echoes))
recipe = LayerSwap(0, 1, 1, 1, 1, 0)
found = [runner.run(r, "search") for r in (recipe, Single("task/1"), recipe, Single("task/1"))]
runner.close()
print(json.dumps([[o.state, o.attempts, o.items.hex()] for o in found]))
"""


def test_failed_rewrite_rebuilds_the_engine(tiny_llama: Family) -> None:
    sources = {name: str(path) for name, path in tiny_llama.sources("te").items()}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(sources)],
        capture_output=True,
        text=True,
        timeout=500,
        cwd=Path(__file__).resolve().parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1", "VLLM_LOGGING_LEVEL": "ERROR"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, broken, again, whole = json.loads(done.stdout.splitlines()[-1])
    assert [first[:2], broken[:2], again[:2]] == [["scored", 1], ["scored", 2], ["scored", 1]]
    assert first[2] == again[2] and broken[2] == whole[2]  # texts before and after the rebuild
    assert first[2] != broken[2]
