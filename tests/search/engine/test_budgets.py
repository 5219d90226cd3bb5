"""What experts may take of a GPU's memory and of its node's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.engine.budgets import (
    ACTIVATIONS,
    GIB,
    GpuRoom,
    context_length,
    describe,
    pinned_budget,
    token_bytes,
)
from search.engine.contract import Budget
from search.engine.staging import Sizes

LLAMA_8B = {"num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096}
WEIGHTS = 16_060_522_496


def room(total: int = 80, **changes: int | float) -> GpuRoom:
    """Llama 3.1 8B on a GPU of so many GiB, 64 requests of 1,024 tokens at once."""
    token = token_bytes(LLAMA_8B, 32, 2, 1)
    found = GpuRoom(total * GIB, 0.9, WEIGHTS, token, length=1024, requests=64)
    return replace(found, **changes)


def test_the_models_own_context_or_the_one_asked_for() -> None:
    assert context_length({"max_position_embeddings": 512}, None) == 512
    assert context_length({"max_position_embeddings": 512}, 100) == 100
    assert context_length({"n_positions": 1024}, None) == 1024
    assert context_length({}, None) is None


@pytest.mark.parametrize(
    ("config", "ranks", "found"),
    [
        (LLAMA_8B, 1, 2 * 32 * 8 * 128 * 2),
        (LLAMA_8B, 4, 2 * 32 * 2 * 128 * 2),
        (LLAMA_8B, 16, 2 * 32 * 1 * 128 * 2),  # heads are copied, not cut
        (LLAMA_8B | {"head_dim": 64}, 1, 2 * 32 * 8 * 64 * 2),
        ({"num_attention_heads": 4, "hidden_size": 64}, 1, 2 * 32 * 4 * 16 * 2),
    ],
)
def test_bytes_of_a_tokens_cache(config: dict[str, int], ranks: int, found: int) -> None:
    assert token_bytes(config, 32, 2, ranks) == found


def test_experts_get_what_weights_cache_and_rewriting_leave() -> None:
    found = room()
    cache = 64 * 1024 * found.token
    assert found.experts("auto") == (
        int(0.9 * 80 * GIB) - WEIGHTS - ACTIVATIONS - Sizes().on_device - cache
    )
    assert room(requests=4096).experts("auto") == 0  # the cache comes first
    assert room().experts(3) == 3 * GIB
    assert room().experts(0) == 0


@pytest.mark.parametrize(
    ("found", "asked"),
    [(room(total=16), "auto"), (room(total=24), 8), (room(length=10**6), 0), (room(total=24), 30)],
)
def test_no_room_for_one_request_is_said_with_the_numbers(found: GpuRoom, asked: Budget) -> None:
    with pytest.raises(ValueError, match=r"GiB of weights.*expert_gpu_gib.*max_model_len") as said:
        found.experts(asked)
    assert f"90% of {found.total / GIB:.3g} GiB" in str(said.value)


@pytest.mark.parametrize(
    ("asked", "budget"),
    [(2, 2 * GIB), (0, 0), ("auto", 30)],
)
def test_pinned_copies(asked: Budget, budget: int) -> None:
    assert pinned_budget(asked, 100 * GIB, 1000 * GIB, 30) == budget


def test_pinned_copies_leave_the_node_its_memory() -> None:
    assert pinned_budget("auto", 100, 1000, 400) == 80
    assert pinned_budget("auto", 1000, 100, 400) == 50


@pytest.mark.parametrize(
    ("budgets", "words"),
    [
        ((0, 0), "300 MB; memory-mapped files"),
        ((0.2, 0), "0.2 GiB of GPU memory for 2 of them, then memory-mapped"),
        ((0.1, 9), "for 1 of them, then 9 GiB of pinned host memory for 3 of them, then memory"),
        (("auto", 0), "what is left of GPU memory, then memory-mapped"),
    ],
)
def test_tiers_are_described(budgets: tuple[Budget, Budget], words: str) -> None:
    sizes = {"base": 10**8, "task/0": 10**8, "lang/0": 10**8}
    assert words in describe(sizes, *budgets)


def test_each_gpu_holds_its_part() -> None:
    assert "0.1 GiB of GPU memory for 2 of them" in describe({"a": 10**8, "b": 10**8}, 0.1, 0, 2)
