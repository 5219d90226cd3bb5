"""How much of a GPU's memory, and of its node's, the experts may take.

Owns the sum: what the weights, the key-value cache, vLLM's own needs and a rewrite leave. Knows
nothing of vLLM; what is there is asked by `search.engine.live`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from objectives.words import counted, scaled
from search.engine.contract import Budget
from search.engine.staging import Sizes

GIB = 2**30
ACTIVATIONS = 2 * GIB
"""Bytes that vLLM takes of a GPU beside weights and cache: one step's activations, graphs."""
SHARED_SHARE, MEMORY_SHARE = 0.8, 0.5
"""How much of /dev/shm and of the node's memory copies of experts may take by themselves."""


_LENGTHS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")


def context_length(config: Mapping[str, Any], max_model_len: int | None) -> int | None:
    """Tokens of prompt and answer together; None where config.json does not say.

    Args:
        config: the base model's config.json.
        max_model_len: what the engine is given, which comes first.
    """
    found = (config.get(name) for name in _LENGTHS)
    return max_model_len or next((n for n in found if isinstance(n, int)), None)


def token_bytes(config: Mapping[str, Any], n_layers: int, itemsize: int, ranks: int) -> int:
    """Bytes of key-value cache that one token takes on each GPU.

    Args:
        config: the base model's config.json.
        n_layers: its number of layers.
        itemsize: bytes of a number in the cache.
        ranks: GPUs that share the engine; a key-value head is on one of them at least.
    """
    heads = int(config["num_attention_heads"])
    size = int(config.get("head_dim") or config["hidden_size"] // heads)
    own = max(1, int(config.get("num_key_value_heads") or heads) // ranks)
    return 2 * n_layers * own * size * itemsize


@dataclass(frozen=True)
class GpuRoom:
    """What an engine has and needs of each of its GPUs, in bytes.

    Attributes:
        total: the GPU's memory.
        utilization: share of it that the engine may take, in (0, 1].
        weights: of the model.
        token: one token's part of the key-value cache.
        length: tokens of the longest request.
        requests: how many run together.
    """

    total: int
    utilization: float
    weights: int
    token: int
    length: int
    requests: int

    @property
    def left(self) -> int:
        """Bytes for cache and experts together; below 0 where the weights alone are too much."""
        taken = self.weights + ACTIVATIONS + Sizes().on_device
        return int(self.utilization * self.total) - taken

    def experts(self, asked: Budget) -> int:
        """Bytes for experts.

        Args:
            asked: GiB, or what the cache for all requests that run together leaves.

        Raises:
            ValueError: no room is left for the cache of the longest request.
        """
        least = self.token * self.length
        wanted = 0 if asked == "auto" else int(asked * GIB)
        if wanted + least > self.left:
            raise ValueError(
                f"{self.utilization:.0%} of {_gib(self.total)} of GPU memory "
                f"(search.engine.gpu_memory_utilization) hold {_gib(self.weights)} of weights, "
                f"{_gib(ACTIVATIONS)} for one step, {_gib(Sizes().on_device)} for rewriting and "
                f"{_gib(wanted)} of experts (search.engine.expert_gpu_gib), which leaves "
                f"{_gib(self.left - wanted)}; one request of {self.length} tokens "
                f"(search.engine.max_model_len) needs {_gib(least)} of cache: lower one of them, "
                "or raise search.engine.tensor_parallel_size"
            )
        if asked == "auto":
            return max(0, self.left - self.token * self.length * self.requests)
        return wanted


def pinned_budget(asked: Budget, shared: int, memory: int, wanted: int) -> int:
    """Bytes of /dev/shm for pinned copies of experts, for all engines of a node together.

    Args:
        asked: GiB, or what the node has room for.
        shared: bytes of /dev/shm in all.
        memory: bytes of the node's memory in all.
        wanted: bytes of base and experts.
    """
    if asked != "auto":
        return int(asked * GIB)
    return min(wanted, int(SHARED_SHARE * shared), int(MEMORY_SHARE * memory))


def describe(sizes: Mapping[str, int], gpu: Budget, pinned: Budget, ranks: int = 1) -> str:
    """One line for people: how many checkpoints fit into each tier of an engine.

    Args:
        sizes: source name -> bytes of its weights.
        gpu: budget in each GPU's memory; auto where only the engine sees what is left.
        pinned: budget in pinned host memory; auto likewise.
        ranks: GPUs that share the engine; each holds its part of every checkpoint.
    """
    total, largest = sum(sizes.values()), max(sizes.values())
    tiers = []
    places = ((gpu, ranks, "of GPU memory"), (pinned, 1, "of pinned host memory"))
    for budget, parts, where in places:
        if budget == "auto":
            tiers.append(f"what is left {where}")
        elif budget:
            fit = min(len(sizes), int(budget * GIB * parts // largest))
            tiers.append(f"{budget:.3g} GiB {where} for {fit} of them")
    tiers.append("memory-mapped files, shared by the engines of a node")
    held = f"{counted(len(sizes), 'checkpoint')}, {scaled(total)}"
    return f"base and experts: {held}; {', then '.join(tiers)}"


def _gib(size: int) -> str:
    return f"{size / GIB:.3g} GiB"
