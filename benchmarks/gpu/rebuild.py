"""An engine closed in order gives its memory back, and one built after it answers the same."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import torch

from benchmarks.gpu.proof import demo_prompts, demo_sources
from benchmarks.gpu.step import Finding, Given
from objectives.types import Request, Sampling
from search.checkpoints.family import fit
from search.merging.recipe import Soup
from tests.engine_options import engine_options

KEPT_GIB = 1.0
"""GiB that the context of CUDA and compiled code may keep."""


def run(given: Given) -> Iterator[Finding]:
    """Twice in one process."""
    from search.engine.live import Engine

    family = fit(demo_sources(), check_finite=False)
    tokens = 16 if given.rehearse else 64
    requests = [Request(prompt, Sampling(tokens)) for prompt in demo_prompts()]
    recipe = Soup(("task/0", "lang/0"), (0.5, 0.5))
    answers, free = [], []
    for _ in range(2):
        free.append(_free(given))
        engine = Engine(family, engine_options(max_num_seqs=32, enforce_eager=given.rehearse))
        engine.materialise(family.plan(recipe))
        answers.append(engine.generate(requests))
        engine.close()
        del engine
        gc.collect()
    free.append(_free(given))
    same = answers[0] == answers[1]
    yield Finding("answers of the second engine are the first's", str(same), "True", same)
    if not given.rehearse:
        kept = (free[0] - free[-1]) / 2**30
        yield Finding(
            "GPU memory that two closed engines keep",
            f"{kept:.2f} GiB",
            f"{KEPT_GIB:g} GiB",
            kept <= KEPT_GIB,
        )


def _free(given: Given) -> int:
    if given.rehearse:
        return 0
    torch.cuda.empty_cache()
    return int(torch.cuda.mem_get_info()[0])
