"""A rewrite that fails half way: the real engine is rebuilt in its process and answers the same."""

from __future__ import annotations

import json

from search.checkpoints.family import Family
from tests.engine_process import run_code

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
    printed = run_code(SCRIPT, json.dumps(sources))
    first, broken, again, whole = json.loads(printed.splitlines()[-1])
    assert [first[:2], broken[:2], again[:2]] == [["scored", 1], ["scored", 2], ["scored", 1]]
    assert first[2] == again[2] and broken[2] == whole[2]  # texts before and after the rebuild
    assert first[2] != broken[2]
