"""Which part of a checkpoint is searched: the text decoder. What else there is, is carried along.

Owns which part of config.json speaks of the decoder, and which tensors are its: of a multimodal
model those under the names that transformers and vLLM know, of a text model all but the modules
that predict several tokens at once, which no engine here asks. Vision and audio towers, projectors
and those modules are the base's in an export, untouched. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DECODER = ("language_model.", "model.language_model.", "lm_head.")
_AHEAD = "mtp."  # Qwen's; transformers neither loads nor saves them


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a config.json that speaks of the text decoder; of a text model, all of it."""
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) else config


def is_multimodal(config: Mapping[str, Any]) -> bool:
    """Whether the text decoder is one part of the model among others."""
    return text_config(config) is not config


def is_carried(name: str, config: Mapping[str, Any]) -> bool:
    """Whether a tensor is none of the text decoder's.

    Args:
        name: its name in the checkpoint.
        config: config.json as it is.
    """
    return not name.startswith(_DECODER) if is_multimodal(config) else name.startswith(_AHEAD)
