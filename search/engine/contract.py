"""What the rest of the program needs to know of an engine: its options, its methods, its answers.

Owns the protocol that `search.engine.live.Engine` keeps, and tests' fake engines with it. Needs no
vLLM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from objectives.types import Completion, Request
from search.checkpoints.family import FittedFamily
from search.merging.plan import Plan

Budget = float | Literal["auto"]
"""GiB for experts, or what is left."""


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is built.

    `search.config.schema.EngineConfig` says what each field means and has the defaults; `seed` is
    the engine's own, beside which every sampled request has one; `chat_template_kwargs` are
    `search.config.schema.ObjectiveShared`'s.
    """

    dtype: str
    max_model_len: int | None
    max_num_seqs: int
    tensor_parallel_size: int
    gpu_memory_utilization: float
    cpu_kv_cache_gib: int
    seed: int
    enforce_eager: bool
    batch_invariant: bool
    trace_top: int
    direct_writes: bool
    expert_gpu_gib: Budget
    expert_pinned_gib: Budget
    chat_template_kwargs: Mapping[str, Any]

    def environment(self) -> dict[str, str]:
        """Variables that must be set before vLLM is imported in the engine's process."""
        variables = {
            "VLLM_CPU_KVCACHE_SPACE": str(self.cpu_kv_cache_gib),
            # Several engines share a host: each keeps to its OMP_NUM_THREADS instead of core 0...
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_NO_USAGE_STATS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        if self.batch_invariant:
            variables["VLLM_BATCH_INVARIANT"] = "1"
        if self.tensor_parallel_size == 1:  # the engine lives in the actor's own process
            variables["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        return variables


@dataclass(frozen=True)
class Materialised:
    """What one rewrite did: merged bytes (before sharding), layers, tensors, seconds."""

    bytes: int
    layers: int
    tensors: int
    seconds: float


@dataclass(frozen=True)
class NonFinite:
    """A merge that no score can describe: NaN or infinity in its weights or logits."""

    reason: str


class LiveEngine(Protocol):
    """What a trial needs of an engine; `tests/search/engine/contract.py` is its contract.

    After `MaterialiseError` or `EngineDeadError` the weights are unknown: close it and build
    another.
    """

    def materialise(self, wanted: Plan) -> Materialised | NonFinite:
        """Make the engine's weights equal to a plan.

        Returns:
            What was done, or `NonFinite` (nothing was written) when a source holds NaN or infinity.

        Raises:
            MaterialiseError: the rewrite failed.
        """

    def generate(self, requests: Sequence[Request]) -> list[Completion] | NonFinite:
        """Complete every prompt, or measure its continuation, in order.

        Returns:
            One completion for each request; or `NonFinite` when any logit was NaN or +infinity, in
            which case the engine is clean for the next plan.

        Raises:
            EngineDeadError: the engine died or a request cannot be served.
        """

    def adopt(self, family: FittedFamily) -> bool:
        """Serve other experts of the same base from now on, as if it had been built for them.

        Returns:
            False where it cannot, as with another base; nothing has changed then.

        Raises:
            EngineStartError: the experts cannot be opened; close the engine.
        """

    def close(self) -> None:
        """Stop the engine; safe to call twice."""
