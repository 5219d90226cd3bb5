"""An engine of two processes, as on two GPUs: it merges as one does, and its end is seen."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import yaml

from search.checkpoints.family import Family
from tests import engine_process
from tests.e2e.commands import SMALL, finish, start, trials
from tests.e2e.test_direct import RECIPES
from tests.engine_process import answer, make_job, named, run_code

KILLED = """
import sys
import psutil
from objectives.types import Request, Sampling
from search.engine.live import Engine
from search.common.errors import EngineDeadError
from search.checkpoints.family import fit
from tests.engine_options import engine_options

if __name__ == "__main__":
    family = fit(dict(pair.split("=", 1) for pair in sys.argv[1:]), check_finite=False)
    options = engine_options(max_num_seqs=16, tensor_parallel_size=2, enforce_eager=True)
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
    one, two = (engine_process.finish(engine_process.start(answer, job)) for job in jobs)
    assert [answer["written_directly"] for answer in two] == [1.0] * len(RECIPES)
    for recipe, alone, shared in zip(RECIPES, one, two, strict=True):
        assert shared["tokens"] == alone["tokens"], recipe
        for mine, other in zip(shared["logprobs"], alone["logprobs"], strict=True):
            assert mine == pytest.approx(other, abs=1e-3), recipe


@pytest.mark.long
def test_a_worker_that_dies_ends_the_engine(tiny_qwen2: Family) -> None:
    printed = run_code(KILLED, *named(tiny_qwen2.sources("te")))
    assert printed.split("\n")[-2] == "left: []", printed


def workers(search: subprocess.Popen[str]) -> list[psutil.Process]:
    """VLLM's processes, below Ray's, below the driver."""
    found = []
    for process in psutil.Process(search.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "VLLM::Worker" in " ".join(process.cmdline()):
                found.append(process)
    return found


@pytest.mark.long
def test_a_search_goes_on_when_one_of_the_engines_processes_is_killed(
    tiny_qwen2: Family, tmp_path: Path
) -> None:
    """Through Ray, with the engine's two processes in the actor's room; random models."""
    sources = {name: str(place) for name, place in tiny_qwen2.sources("te").items()}
    family = {
        "name": "tiny",
        "base": sources["base"],
        "task": [sources["task/0"], sources["task/1"]],
        "language": {"te": [sources["lang/0"], sources["lang/1"]]},
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(family))
    command = ["--lang=te", f"--out={tmp_path}", "--study=two", "--trials=3", *SMALL]
    for objective in ("mgsm", "lcpr"):  # random models always write as much as they may
        command += [f"objective.{objective}.{split}_items=4" for split in ("search", "held_out")]
        command += [f"objective.{objective}.max_tokens=12"]
    command += [f"family={tmp_path / 'tiny.yaml'}", "search.cpus_per_engine=2"]
    search = start(*command, "search.engine.tensor_parallel_size=2")
    try:
        deadline = time.monotonic() + 300
        while len(trials(tmp_path / "two")) < 3:
            assert search.poll() is None and time.monotonic() < deadline, search.communicate()[0]
            time.sleep(0.2)
        one, other = workers(search)
        one.kill()
        finish(search, 400)
    finally:
        search.kill()
    found = trials(tmp_path / "two")
    assert len({(t["key"], t["split"]) for t in found}) == len(found)
    assert sum(t["origin"] == "search" for t in found) == 3
    assert all(t["state"] != "failed" for t in found), [t["reason"] for t in found]
    assert sum(t["attempts"] == 2 for t in found) == 1
    assert not other.is_running()
