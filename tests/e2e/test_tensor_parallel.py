"""An engine of two processes, as on two GPUs: it merges as one does, and its end is seen."""

from __future__ import annotations

import pytest

from search.family import Family
from tests.e2e.test_direct import RECIPES
from tests.engine_process import finish, make_job, run_code, start

KILLED = """
import sys
import psutil
from objectives.types import Request, Sampling
from search.engine import Engine, EngineOptions
from search.errors import EngineDeadError
from search.family import fit

if __name__ == "__main__":
    family = fit(dict(pair.split("=", 1) for pair in sys.argv[1:]), check_finite=False)
    options = EngineOptions(max_num_seqs=16, tensor_parallel_size=2, enforce_eager=True)
    engine = Engine(family, options)
    children = psutil.Process().children(recursive=True)
    workers = [child for child in children if "Worker" in " ".join(child.cmdline())]
    assert len(workers) == 2, children
    workers[1].kill()
    try:
        engine.generate([Request("one and one", Sampling(8))])
    except EngineDeadError:
        engine.close()
        gone, alive = psutil.wait_procs(workers, timeout=30)
        print("left:", alive)
"""


@pytest.mark.long
def test_two_processes_write_what_one_does(tiny_qwen2: Family) -> None:
    """Each holds its shard of q k v, gate up, the embeddings; sums are in another order."""
    sources, prompts = tiny_qwen2.sources("te"), ["the quick brown fox", "jumps"]
    jobs = [make_job(sources, RECIPES, prompts, dtype="float32", tensor_parallel=n) for n in (1, 2)]
    one, two = (finish(start(job)) for job in jobs)
    assert [answer["written_directly"] for answer in two] == [1.0] * len(RECIPES)
    for recipe, alone, shared in zip(RECIPES, one, two, strict=True):
        assert shared["tokens"] == alone["tokens"], recipe
        for mine, other in zip(shared["logprobs"], alone["logprobs"], strict=True):
            assert mine == pytest.approx(other, abs=1e-3), recipe


@pytest.mark.long
def test_a_worker_that_dies_ends_the_engine(tiny_qwen2: Family) -> None:
    printed = run_code(KILLED, tiny_qwen2.sources("te"))
    assert printed.split("\n")[-2] == "left: []", printed
