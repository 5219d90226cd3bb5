"""Run a list of recipes on one engine in a process of its own; the answers come back as JSON.

    python -m tests.engine_process < job.json > answers.json

A process for each engine, because vLLM keeps process-wide state: the live engine and the fresh ones
that it is held against must not share any.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from objectives.types import Request, Sampling
from search.merging.recipe import Recipe, to_dict
from tests.e2e.commands import ROOT


def make_job(
    sources: Mapping[str, Path | str],
    recipes: Sequence[Recipe],
    prompts: Sequence[str],
    *,
    reset: bool = True,
    max_tokens: int = 24,
    dtype: str = "auto",
    direct: bool = True,
    tensor_parallel: int = 1,
    eager: bool = True,
    look: bool = False,
) -> dict[str, Any]:
    """What an engine is to do, as plain JSON values; without `reset`, prefixes are kept.

    `direct` is `EngineConfig.direct_writes`, `tensor_parallel` its size, `eager` its
    `enforce_eager`; `look` tells vLLM's model runner and where its parameters are as well.
    """
    return {
        "sources": {k: str(v) for k, v in sources.items()},
        "recipes": [to_dict(recipe) for recipe in recipes],
        "prompts": list(prompts),
        "reset": reset,
        "max_tokens": max_tokens,
        "dtype": dtype,
        "direct": direct,
        "tensor_parallel": tensor_parallel,
        "eager": eager,
        "look": look,
    }


def run_code(code: str, sources: Mapping[str, Path | str]) -> str:
    """Run a script that takes a family as NAME=PATH arguments; what it printed."""
    run = subprocess.run(
        [sys.executable, "-c", code, *(f"{name}={path}" for name, path in sources.items())],
        env=os.environ | {"OMP_NUM_THREADS": "1", "VLLM_LOGGING_LEVEL": "ERROR"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


def start(job: dict[str, Any], threads: int = 1) -> subprocess.Popen[str]:
    """Begin a job in the background."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.engine_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "VLLM_LOGGING_LEVEL": "ERROR"},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(job))
    process.stdin.close()
    process.stdin = None
    return process


def finish(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Wait for a run and read its answers."""
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, f"the engine's process failed:\n{err[-3000:]}"
    answers: list[dict[str, Any]] = json.loads(out.splitlines()[-1])
    return answers


def answer(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Build the engine that a job asks for and let it answer after each recipe."""
    from vllm import SamplingParams

    from search.checkpoints.family import fit
    from search.engine.contract import NonFinite
    from search.engine.live import Engine
    from search.merging.recipe import from_dict
    from tests.engine_options import engine_options

    family = fit({k: Path(v) for k, v in job["sources"].items()}, check_finite=False)
    options = engine_options(
        dtype=job["dtype"],
        max_num_seqs=16,
        tensor_parallel_size=job["tensor_parallel"],
        enforce_eager=job["eager"],
        direct_writes=job["direct"],
    )
    engine = Engine(family, options)
    if not job["reset"]:
        engine.llm.reset_prefix_cache = lambda: True
    greedy = Sampling(job["max_tokens"])
    parameters = SamplingParams(
        temperature=0.0, max_tokens=job["max_tokens"], logprobs=0, ignore_eos=True
    )
    answers = []
    for data in job["recipes"]:
        done = engine.materialise(family.plan(from_dict(data)))
        if isinstance(done, NonFinite):
            answers.append({"non_finite": done.reason})
            continue
        found: dict[str, Any] = {"layers": done.layers, "tensors": done.tensors}
        texts = engine.generate([Request(prompt, greedy) for prompt in job["prompts"]])
        if isinstance(texts, NonFinite):
            answers.append(found | {"non_finite": texts.reason})
            continue
        outputs = engine.llm.generate(job["prompts"], parameters, use_tqdm=False)
        found["prompt_tokens"] = [len(o.prompt_token_ids) for o in outputs]
        found["written_directly"] = engine.written_directly
        if job["look"]:
            found["runner"], found["addresses"] = engine.llm.collective_rpc(_looked)[0]
        found["dtype"] = str(engine.llm.model_config.dtype)
        found["tokens"] = [list(o.outputs[0].token_ids) for o in outputs]
        found["logprobs"] = [
            [
                step[token].logprob
                for step, token in zip(o.outputs[0].logprobs, o.outputs[0].token_ids, strict=True)
            ]
            for o in outputs
        ]
        answers.append(found)
    engine.close()
    return answers


def _looked(worker: Any) -> tuple[str, list[int]]:
    """Of a worker in this process: its model runner, and the addresses of its parameters."""
    runner = worker.model_runner
    found = [parameter.data_ptr() for parameter in runner.get_model().parameters()]
    return f"{type(runner).__module__}.{type(runner).__name__}", found


def main() -> None:
    """Read the job from standard input and answer on standard output."""
    print(json.dumps(answer(json.load(sys.stdin))))


if __name__ == "__main__":
    main()
