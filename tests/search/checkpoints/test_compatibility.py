"""Entries of config.json that change what the same weights compute, in every architecture."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.compatibility import mismatches, vocabulary
from search.checkpoints.family import Family


@pytest.mark.parametrize(
    ("entry", "base", "expert"),
    [
        ("num_experts_per_tok", 2, 1),  # Mixtral, Qwen3-MoE
        ("norm_topk_prob", True, False),
        ("hidden_activation", "gelu_pytorch_tanh", "gelu"),  # Gemma
        ("query_pre_attn_scalar", 256, 144),
        ("attn_logit_softcapping", 50.0, 30.0),
        ("final_logit_softcapping", 30.0, None),
        ("layer_types", ["full_attention"] * 4, ["sliding_attention"] * 4),
        ("layer_norm_eps", 1e-5, 1e-6),  # GPT-NeoX
        ("use_parallel_residual", True, False),
        ("layer_norm_epsilon", 1e-5, 1e-6),  # Falcon
        ("activation", "gelu", "relu"),
        ("parallel_attn", True, False),
        ("alibi", False, True),
    ],
)
def test_what_computes_differently(
    tiny_llama: Family, entry: str, base: object, expert: object
) -> None:
    opened = Checkpoint.open(tiny_llama.base)
    first, second = (
        replace(opened, config={**opened.config, entry: value}) for value in (base, expert)
    )
    assert mismatches(first, second, vocabulary) == [
        f"has {entry} {expert}, base has {base}: it computes differently"
    ]
    assert mismatches(first, first, vocabulary) == mismatches(first, opened, vocabulary) == []
