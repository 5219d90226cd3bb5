"""Real engines, each in a process of its own; what they do comes back.

A process for each engine, because vLLM keeps process-wide state: the live engine and the fresh ones
that it is held against must not share any. What they import, seconds of work, is imported once:
they are forks of a process that has loaded it, and has started nothing.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import redirect_stdout
from functools import cache
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from objectives.types import Request, Sampling
from search.merging.recipe import Recipe, to_dict

T = TypeVar("T")

SECONDS = 500
"""Patience with one engine, on a busy machine."""


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


@cache
def _loaded() -> ForkServerContext:
    """Where engines' processes come from; it ends with this process."""
    context = get_context("forkserver")
    forkserver._forkserver._stop()  # another test's would go on, and load none of these
    context.set_forkserver_preload(["vllm.entrypoints.llm", "search.engine.live", __name__])
    with patch.dict(os.environ, {"OMP_NUM_THREADS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}):
        forkserver.ensure_running()
    return context


def start(function: Callable[..., T], *arguments: Any) -> Future[T]:
    """Begin a call in a process of its own; `finish` waits for it."""
    one = ProcessPoolExecutor(1, _loaded())
    begun = one.submit(_called, function, *arguments)
    one.shutdown(wait=False)
    return begun


def _called(function: Callable[..., T], *arguments: Any) -> T:
    assert "vllm.entrypoints.llm" in sys.modules, "not a fork of a process that has loaded vLLM"
    return function(*arguments)


def finish(begun: Future[T]) -> T:
    """What it returned; raises what it raised, with its traceback."""
    return begun.result(timeout=SECONDS)


def run_code(code: str, *arguments: str) -> str:
    """Run a script in a process of its own; what it printed."""
    return finish(start(_printed, code, arguments))


def named(sources: Mapping[str, Path | str]) -> list[str]:
    """A family as NAME=PATH arguments of a script."""
    return [f"{name}={path}" for name, path in sources.items()]


def _printed(code: str, arguments: Sequence[str]) -> str:
    sys.argv = ["-c", *arguments]
    with redirect_stdout(io.StringIO()) as printed:
        exec(code, {"__name__": "__main__"})
    return printed.getvalue()


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
