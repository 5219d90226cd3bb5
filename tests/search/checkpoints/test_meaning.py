"""What two config.json files say, however they are spelled: a row for each way to say it."""

from __future__ import annotations

from typing import Any

import pytest

from search.checkpoints.meaning import differing, in_words, meaning, ties_by_default
from search.common.errors import CheckpointError

SIZES: dict[str, Any] = {
    **{"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 4, "vocab_size": 280},
    **{"num_attention_heads": 3, "num_key_value_heads": 1, "max_position_embeddings": 512},
}
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3["original_max_position_embeddings"] = 64
LONG = {"type": "longrope", "short_factor": [1.0] * 16, "long_factor": [2.0] * 16}
LOCAL = {"rope_theta": 1e4, "rope_type": "default"}


def differ(model_type: str, base: dict[str, Any], expert: dict[str, Any]) -> list[str]:
    """Names in which the two differ."""
    files = [SIZES | {"model_type": model_type} | own for own in (base, expert)]
    first, second = (meaning(file).computes for file in files)
    return differing(first, second)


@pytest.mark.parametrize(
    ("model_type", "base", "expert"),
    [
        # old and new names of the rotation
        ("llama", {"rope_theta": 5e5}, {"rope_parameters": {"rope_theta": 5e5}}),
        ("llama", {}, {"rope_theta": 10000}),
        ("qwen3_5_text", {}, {"mtp_num_hidden_layers": 1}),
        ("gemma4_text", {}, {"vocab_size_per_layer_input": 262208}),
        ("llama", {"rope_theta": None}, {"rope_scaling": {"rope_type": "default"}}),
        ("llama", {"rope_scaling": None}, {"rope_scaling": {"type": "linear", "factor": 1.0}}),
        ("llama", {"rope_scaling": YARN}, {"rope_scaling": {**YARN, "rope_type": "yarn"}}),
        ("llama", {"rope_scaling": YARN}, {"rope_scaling": {**YARN, "beta_fast": 32.0}}),
        (
            "llama",
            {"rope_scaling": YARN},
            {"rope_scaling": {**YARN, "attention_factor": 1.138629}},
        ),
        (
            "llama",
            {"rope_theta": 5e5, "rope_scaling": LLAMA3},
            {"rope_parameters": {**LLAMA3, "rope_theta": 5e5}},
        ),
        ("gemma3_text", {"rope_local_base_freq": 1e4, "rope_theta": 1e6}, {}),
        (
            "gemma3_text",
            {"rope_theta": 1e6},
            {
                "rope_parameters": {
                    "full_attention": {**LOCAL, "rope_theta": 1e6},
                    "sliding_attention": LOCAL,
                }
            },
        ),
        ("gpt_neox", {"rotary_pct": 0.25, "rotary_emb_base": 10000}, {}),
        ("llama", {}, {"rope_scaling": {"rope_type": "default", "factor": 1.0}}),
        # defaults, and what follows from other settings
        ("llama", {"head_dim": 32}, {"head_dim": None}),
        ("qwen2", {"head_dim": 32}, {}),
        ("llama", {"num_key_value_heads": 3}, {"num_key_value_heads": None}),
        ("llama", {"attention_bias": False, "mlp_bias": False}, {}),
        ("mistral", {}, {"attention_bias": False, "sliding_window": 4096}),
        ("granite", {"logits_scaling": 1.0}, {"residual_multiplier": 1}),
        ("llama", {}, {"residual_multiplier": 1.0}),
        ("cohere", {"logit_scale": 0.0625}, {}),
        ("gemma2", {"final_logit_softcapping": 30.0}, {"hidden_act": "gelu"}),
        ("gemma", {"hidden_act": "gelu"}, {"hidden_act": "gelu_pytorch_tanh"}),
        ("llama", {"hidden_act": "silu"}, {"hidden_act": "swish"}),
        ("gemma2", {"layer_types": ["sliding_attention", "full_attention"] * 2}, {}),
        ("qwen2", {"sliding_window": 131072, "use_sliding_window": False}, {"sliding_window": 64}),
        ("qwen2", {"max_window_layers": 2}, {"max_window_layers": 4}),
        ("falcon_h1", {"time_step_limit": [0.0, {"__float__": "Infinity"}]}, {}),
        # null is unset
        ("llama", {"vision_config": None, "quantization_config": None}, {"auto_map": None}),
        ("llama", {"rms_norm_eps": None}, {"rms_norm_eps": 1e-6}),
        # what does not change what the weights compute
        ("llama", {"max_position_embeddings": 1024}, {"torch_dtype": "float16"}),
        ("llama", {"attention_dropout": 0.1}, {"use_cache": False, "pad_token_id": 3}),
        ("llama", {"is_llama_config": True}, {"transformers.js_config": {"dtype": "q4"}}),
        ("llama", {"max_sequence_length": 512}, {"use_flash_attention_2": True}),
        ("llama", {"max_new_tokens": 64}, {"temperature": 0.6, "do_sample": True}),
        ("llama", {"unsloth_version": "2026.1"}, {"_name_or_path": "x", "license": "y"}),
        ("mixtral", {"router_aux_loss_coef": 0.02}, {"output_router_logits": True}),
        (
            "llama",
            {"id2label": {"0": "a"}},
            {"initializer_range": 0.1, "dtype": "float32"},
        ),
    ],
)
def test_the_same_in_other_words(
    model_type: str, base: dict[str, Any], expert: dict[str, Any]
) -> None:
    assert differ(model_type, base, expert) == []


@pytest.mark.parametrize(
    ("model_type", "base", "expert", "name"),
    [
        ("llama", {"rope_theta": 1e4}, {"rope_parameters": {"rope_theta": 5e5}}, "rope_theta"),
        ("llama", {"rope_theta": 5e5}, {}, "rope_theta"),
        ("llama", {}, {"rope_scaling": LLAMA3}, "rope_type"),
        ("llama", {"rope_scaling": YARN}, {"rope_scaling": {**YARN, "factor": 2.0}}, "factor"),
        ("llama", {"rope_scaling": YARN}, {"rope_scaling": {**YARN, "beta_slow": 2}}, "beta_slow"),
        ("llama", {}, {"rope_scaling": {"type": "linear", "factor": 2.0}}, "factor"),
        ("gemma3_text", {}, {"rope_local_base_freq": 5e4}, "sliding_attention.rope_theta"),
        ("gpt_neox", {"rotary_pct": 0.25}, {"rotary_pct": 1.0}, "partial_rotary_factor"),
        ("mistral", {"sliding_window": 4096}, {"sliding_window": None}, "sliding_window"),
        ("mistral", {}, {"sliding_window": None}, "sliding_window"),
        ("qwen2", {}, {"use_sliding_window": True, "max_window_layers": 2}, "layer_types"),
        ("gemma2", {}, {"layer_types": ["full_attention"] * 4}, "layer_types"),
        ("gemma2", {"query_pre_attn_scalar": 256}, {"query_pre_attn_scalar": 144}, "query_pre"),
        ("gemma2", {}, {"final_logit_softcapping": None}, "final_logit_softcapping"),
        ("granite", {}, {"logits_scaling": 8.0}, "logits_scaling"),
        ("granite", {"embedding_multiplier": 12.0}, {}, "embedding_multiplier"),
        ("granite", {}, {"residual_multiplier": 0.22}, "residual_multiplier"),
        ("granite", {}, {"attention_multiplier": 0.1}, "attention_multiplier"),
        ("cohere", {}, {"logit_scale": 1.0}, "logit_scale"),
        ("llama", {"rms_norm_eps": 1e-5}, {}, "rms_norm_eps"),
        ("llama", {"hidden_act": "silu"}, {"hidden_act": "gelu"}, "hidden_act"),
        ("mixtral", {"num_experts_per_tok": 2}, {"num_experts_per_tok": 1}, "num_experts_per_tok"),
        ("qwen3_moe", {"norm_topk_prob": True}, {}, "norm_topk_prob"),
        ("gpt_neox", {"use_parallel_residual": False}, {}, "use_parallel_residual"),
        ("falcon", {"alibi": True}, {}, "alibi"),
        ("llama", {}, {"a_new_scale": 0.5}, "a_new_scale"),
        ("llama", {"quantization_config": {"bits": 4}}, {}, "quantization_config.bits"),
        # longer prompts rotate otherwise
        (
            "llama",
            {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
            {"rope_scaling": {"type": "dynamic", "factor": 2.0}, "max_position_embeddings": 1024},
            "rope_parameters.max_position_embeddings",
        ),
        (
            "llama",
            {"rope_scaling": YARN},
            {"rope_scaling": {**YARN, "original_max_position_embeddings": 64}},
            "rope_parameters.original_max_position_embeddings",
        ),
        (
            "llama",
            {"rope_scaling": LLAMA3},
            {"rope_parameters": {**LLAMA3, "original_max_position_embeddings": 128}},
            "rope_parameters.original_max_position_embeddings",
        ),
        (
            "falcon_h1",
            {"time_step_limit": [0.0, {"__float__": "Infinity"}]},
            {"time_step_limit": [0.0, 0.5]},
            "time_step_limit",
        ),
        (
            "phi3",
            {"pad_token_id": 0, "rope_scaling": LONG},
            {"pad_token_id": 0, "rope_scaling": LONG, "original_max_position_embeddings": 128},
            "rope_parameters.original_max_position_embeddings",
        ),
    ],
)
def test_what_computes_differently(
    model_type: str, base: dict[str, Any], expert: dict[str, Any], name: str
) -> None:
    assert any(name in found for found in differ(model_type, base, expert))


def test_in_words() -> None:
    base = SIZES | {"model_type": "llama", "rope_theta": 1e4}
    expert = SIZES | {"model_type": "llama", "rope_parameters": {"rope_theta": 5e5}}
    (name,) = differing(meaning(expert).computes, meaning(base).computes)
    assert in_words(name, meaning(expert), meaning(base), expert, base) == (
        "has rope_parameters.rope_theta 500000.0, base has 10000.0 (rope_parameters, rope_theta in "
        "config.json): it computes differently"
    )


def test_what_the_class_does_not_take() -> None:
    with pytest.raises(CheckpointError, match="transformers' LlamaConfig does not take its conf"):
        meaning(SIZES | {"model_type": "llama", "hidden_act": 3})


def test_a_type_that_transformers_does_not_know() -> None:
    """Taken as it is spelled, but for the rotation's two spellings."""
    own = {"model_type": "own", "rope_theta": 1e4, "scale_x": 3, "flag": False, "use_cache": True}
    found = meaning(own)
    assert not found.known
    assert found.computes == {
        "scale_x": 3,
        "rope_parameters.rope_theta": 1e4,
        "rope_parameters.rope_type": "default",
    }
    assert (
        meaning({**own, "rope_scaling": {"type": "yarn", "factor": 2}}).computes != found.computes
    )


def test_the_file_is_not_changed() -> None:
    config = SIZES | {"model_type": "llama", "rope_scaling": dict(YARN)}
    meaning(config)
    assert config["rope_scaling"] == YARN


@pytest.mark.parametrize(
    ("model_type", "tied"), [("llama", False), ("gemma2", True), ("qwen2", False), ("own", None)]
)
def test_ties_by_default(model_type: str, tied: bool | None) -> None:
    assert ties_by_default({"model_type": model_type}) is tied
