"""Context length and budgets that nobody named: what is chosen, what fits, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from benchmarks.gpu.proof import demo_prompts, demo_sources
from benchmarks.gpu.step import Finding, Given
from objectives.types import Request, Sampling
from search.checkpoints.family import FittedFamily, fit
from search.engine.budgets import GIB
from search.engine.contract import EngineOptions
from search.run.prompt_lengths import check_context
from tests.engine_options import engine_options

REHEARSED_GIB = 80
"""Memory of the GPU that a rehearsal makes believe it has."""
KEPT_GIB = 1.0
"""GiB that CUDA's context takes beside what vLLM counts."""


def run(given: Given) -> Iterator[Finding]:
    """By the sums alone, then by an engine that is built so."""
    from search.engine.live import expert_budgets

    family = fit(demo_sources(), check_finite=False)
    total = REHEARSED_GIB * GIB if given.rehearse else torch.cuda.mem_get_info()[1]
    asked = [Request(prompt, Sampling(96)) for prompt in demo_prompts()]
    length = check_context(
        {"mgsm": asked}, family.base.config, None, lambda texts: [len(str(t)) for t in texts]
    ).max_model_len
    whole = family.base.config["max_position_embeddings"]
    yield Finding("tokens of context", str(length), f"{whole} or fewer", (length or 0) <= whole)
    options = engine_options(
        max_num_seqs=32,
        max_model_len=length,
        enforce_eager=given.rehearse,
        expert_gpu_gib=0 if given.rehearse else "auto",
    )
    auto = replace(options, expert_gpu_gib="auto")
    gpu, pinned = expert_budgets(family, auto, total)
    wanted = sum(source.bytes for source in family.sources.values())
    for tier, held in (("the GPU", gpu), ("pinned memory", pinned)):
        yield Finding(f"bytes of experts in {tier}", str(held), str(wanted), held == wanted)
    yield _refused(family, replace(auto, expert_gpu_gib=total / GIB), total)
    yield from _built(given, family, options, asked, total)


def _refused(family: FittedFamily, options: EngineOptions, total: int) -> Finding:
    from search.engine.live import expert_budgets

    what, said = "a budget that leaves no room is refused with numbers", "it was taken"
    try:
        expert_budgets(family, options, total)
    except ValueError as error:
        said = str(error)
    known = "search.engine.expert_gpu_gib" in said and "GiB" in said
    return Finding(what, "refused" if known else said, "refused", known)


def _built(
    given: Given, family: FittedFamily, options: EngineOptions, asked: list[Request], total: int
) -> Iterator[Finding]:
    """An engine has the context that it was given, and takes no more than its share."""
    from search.engine.live import Engine

    engine: Any = Engine(family, options)
    own = engine.llm.model_config.max_model_len
    yield Finding(
        "context of the engine", str(own), str(options.max_model_len), own == options.max_model_len
    )
    tokens = sum(answer.n_tokens for answer in engine.generate(asked))
    yield Finding("tokens answered", str(tokens), "1 or more", tokens > 0)
    if not given.rehearse:
        share = options.gpu_memory_utilization * total / GIB + KEPT_GIB
        used = (total - torch.cuda.mem_get_info()[0]) / GIB
        yield Finding("GPU memory taken", f"{used:.2f} GiB", f"{share:.2f} GiB", used <= share)
    engine.close()
