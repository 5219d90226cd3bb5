"""Which part of a checkpoint is searched: the text decoder. What else there is, is carried along.

Owns which part of config.json speaks of the decoder, and which tensors are its: of a multimodal
model those under the names that transformers and vLLM know, of a text model all but the modules
that predict several tokens at once, which no engine here asks. Vision and audio towers, projectors
and those modules are the base's in an export, untouched. Owns too how one decoder's tensors are
called by the classes and versions that save it. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_BEFORE = ("model.language_model.", "language_model.model.", "model.")
"""What stands before a decoder's own names: in multimodal models since transformers 4.52, before
that and again as transformers 5 saves them, and in text models."""
_PARTS = (
    *("layers.", "embed_tokens.", "norm."),
    *("embed_tokens_per_layer.", "per_layer_model_projection.", "per_layer_projection_norm."),
)
_HEADS = ("lm_head.", "language_model.lm_head.")
# Those of `architectures.TOWERS`.
_TOWERS = (
    *("vision_tower.", "multi_modal_projector.", "visual."),
    *("audio_tower.", "embed_vision.", "embed_audio."),
)
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
    if not is_multimodal(config):
        return name.startswith(_AHEAD)
    return _within(name) is None and not name.startswith(_BEFORE[:2])


def is_of_tower(name: str) -> bool:
    """Whether a module belongs to a tower or a projector, by any of its names."""
    return name.removeprefix("model.").startswith(_TOWERS)


def renamed(names: Iterable[str], wanted: Iterable[str]) -> dict[str, str]:
    """Tensors of a decoder that another class or version of it calls otherwise: name -> there.

    Args:
        names: what they are called.
        wanted: what they are called there; each is given once, so that no two tensors become one.
    """
    own, taken = set(names), set(wanted)
    there = {inner: name for name in taken - own if (inner := _within(name))}
    pairs = ((name, there.pop(_within(name) or "", None)) for name in sorted(own - taken))
    return {name: other for name, other in pairs if other is not None}


def _within(name: str) -> str | None:
    """What a decoder itself calls one of its tensors; None for any other tensor."""
    for before in _BEFORE:
        inner = name.removeprefix(before)
        if inner != name and inner.startswith(_PARTS):
            return inner
    return next((_HEADS[0] + name.removeprefix(h) for h in _HEADS if name.startswith(h)), None)
