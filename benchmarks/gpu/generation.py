"""Generation against bare vLLM on the same prompts, and two engines on one GPU against one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from benchmarks.gpu.proof import demo_prompts, demo_sources
from benchmarks.gpu.step import Finding, Given
from objectives.types import Completion, Request, Sampling
from search.checkpoints.family import fit
from tests.engine_options import engine_options

BARE = 0.95
APART = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
"""Scheduling and the model leave the process that asks; our engines have both in it."""


def build(given: Given, share: float, **more: Any) -> Any:
    """An engine with a share of the GPU, and more options."""
    from search.engine.live import Engine

    options = engine_options(
        max_model_len=512,
        max_num_seqs=64 if given.rehearse else 512,
        gpu_memory_utilization=share,
        expert_gpu_gib=0,
        expert_pinned_gib=0,
        enforce_eager=given.rehearse,
        **more,
    )
    return Engine(fit({"base": demo_sources()["base"]}, check_finite=False), options)


def requests(given: Given) -> list[Request]:
    """Different prompts of the demo, as many as a trial has."""
    repeats = 1 if given.rehearse else 40
    tokens = 16 if given.rehearse else 128
    texts = [f"{n}. {prompt}" for n in range(repeats) for prompt in demo_prompts()]
    return [Request(text, Sampling(tokens)) for text in texts]


def rate(engine: Any, asked: Sequence[Request]) -> float:
    """Tokens a second, of the better of two runs without cached prefixes."""
    best = 0.0
    for _ in range(2):
        engine.llm.reset_prefix_cache()
        begun = time.perf_counter()
        answers: list[Completion] = engine.generate(asked)
        best = max(best, sum(a.n_tokens for a in answers) / (time.perf_counter() - begun))
    return best


def run(given: Given) -> Iterator[Finding]:
    """One engine, the same engine asked bare, then two at once."""
    from vllm import SamplingParams

    engine, asked = build(given, 0.85), requests(given)
    ours = rate(engine, asked)
    prompts = [{"prompt_token_ids": engine._prompt(request)} for request in asked]
    bare = 0.0
    for _ in range(2):
        engine.llm.reset_prefix_cache()
        parameters = SamplingParams(temperature=0.0, max_tokens=asked[0].sampling.max_tokens)
        begun = time.perf_counter()
        outputs = engine.llm.generate(prompts, parameters, use_tqdm=False)
        tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        bare = max(bare, tokens / (time.perf_counter() - begun))
    engine.close()
    share = ours / bare
    yield Finding("tokens a second, bare vLLM", f"{bare:,.0f}")
    passed = None if given.rehearse else share >= BARE
    yield Finding("ours, of bare vLLM's", f"{share:.0%}", f"{BARE:.0%}", passed)
    pair = [_other(given, number, of=2, share=0.4) for number in range(2)]
    yield Finding("two engines at once, of one", f"{sum(map(_rate, pair)) / ours:.0%}")
    apart = _other(given, 2, of=3, share=0.85, environment=APART)
    yield Finding("the same engine in a process of its own, of ours", f"{_rate(apart) / ours:.0%}")
    if given.rehearse:
        yield Finding("batch-invariant, of the usual", "not run: it needs a GPU")
        return
    alone = _other(given, 3, of=4, share=0.85, batch_invariant=True)
    yield Finding("batch-invariant, of the usual", f"{_rate(alone) / ours:.0%}")


def _rate(process: subprocess.Popen[str]) -> float:
    out, _ = process.communicate(timeout=200)
    return float(out.splitlines()[-1])


def _other(
    given: Given,
    number: int,
    *,
    of: int,
    share: float,
    environment: Mapping[str, str] = MappingProxyType({}),
    **more: Any,
) -> subprocess.Popen[str]:
    """An engine in a process of its own, which begins when so many have been ready."""
    code = (
        "import sys, time; from pathlib import Path; from benchmarks.gpu.step import Given; "
        "from benchmarks.gpu.generation import *; "
        f"given = Given({given.rehearse}, Path({str(given.folder)!r})); "
        f"engine = build(given, {share}, **{more!r}); asked = requests(given); "
        "ready = given.folder / f'ready-{sys.argv[1]}'; ready.touch(); "
        f"exec('while len(list(given.folder.glob(\"ready-*\"))) < {of}: time.sleep(0.05)'); "
        "print(rate(engine, asked)); engine.close()"
    )
    command = [sys.executable, "-c", code, str(number)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
