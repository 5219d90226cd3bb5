"""Weights written directly compute what weights reloaded by vLLM do, bit for bit."""

from __future__ import annotations

from search.checkpoints.family import Family
from search.merging.recipe import DareLinear, LayerSwap, Single, Slerp, Soup, TaskArithmetic, Ties
from tests.engine_process import answer, finish, make_job, start

PAIR = ("task/0", "lang/0")
RECIPES = [
    Single("task/1"),
    LayerSwap(0, 1, 1, 1, 1, 1, 0.3, 0.7),
    LayerSwap((0, 1), 1, 0, 2, 0, 0, non_layer="base"),
    Soup(PAIR, (1.0, 3.0)),
    TaskArithmetic(PAIR, (0.5, 0.7)),
    Ties(PAIR, 0.3, (1.0, 1.0)),
    DareLinear(PAIR, 0.5, (0.5, 0.5)),
    Slerp(0, 1, (0.2, 0.6)),
    Single("base"),
]


def test_direct_writes_equal_reloads(tiny_qwen2: Family) -> None:
    """Qwen2: fused q k v and gate up, biases, and a head that is the embeddings."""
    prompts = ["the quick brown fox", "jumps"]
    running = [
        start(answer, make_job(tiny_qwen2.sources("te"), RECIPES, prompts, direct=direct))
        for direct in (True, False)
    ]
    directly, reloaded = map(finish, running)
    assert [a["written_directly"] for a in directly] == [1.0] * len(RECIPES)
    assert [a["written_directly"] for a in reloaded] == [0.0] * len(RECIPES)
    for recipe, one, other in zip(RECIPES, directly, reloaded, strict=True):
        assert one["tokens"] == other["tokens"], recipe
        assert one["logprobs"] == other["logprobs"], recipe
    assert len({str(answer["logprobs"]) for answer in directly}) == len(RECIPES)
