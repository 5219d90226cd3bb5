"""What a config.json means: read as transformers' own class of that model reads it.

Owns which settings change what the same weights compute: all but those of one list. Old and new
names are brought together and defaults filled in by the class, so that two files are compared by
what they say and not by how they are spelled. No code of a checkpoint is run, nothing is fetched.
Knows nothing of weights or tokenizers.
"""

from __future__ import annotations

import copy
import dataclasses
import fnmatch
import functools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from search.checkpoints.towers import text_config
from search.common.errors import CheckpointError
from search.common.values import flatten, short

IGNORED = (
    # names, versions, and how the file or the model was made
    *("architectures", "model_type", "transformers_version", "_*", "auto_map", "name_or_path"),
    *("unsloth*", "tokenizer_*", "task_specific_params", "finetuning_task", "license", "language"),
    *("base_model_name_or_path", "model_name", "pretraining_tp", "ep_size", "torchscript"),
    *("is_llama_config", "transformers.js_config*"),
    # how it is run: precision, cache, outputs, kernels
    *("dtype", "torch_dtype", "use_bfloat16", "use_cache", "cache_implementation", "return_dict"),
    *("output_*", "attn_implementation", "experts_implementation", "use_flash_att*", "flash_*"),
    *("chunk_size_feed_forward", "use_return_dict"),
    # training alone
    *("*dropout*", "*_pdrop", "initializer_*", "gradient_checkpointing", "neftune_noise_alpha"),
    *("router_aux_loss_coef", "router_z_loss_coef", "router_jitter_noise", "aux_loss_*", "seq_aux"),
    *("rescale_prenorm_residual", "init_method", "use_mup_init"),
    # token ids, and what only generation or a classifier's head looks at
    *("*_token_id", "*_token_ids", "*_token", "id2label", "label2id", "num_labels", "problem_type"),
    *("classifier_*", "summary_*", "max_length", "model_max_length", "*suppress_tokens", "n_ctx"),
    # said by the shapes of tensors, or compared by themselves
    *("vocab_size", "vocab_size_per_layer_input", "num_hidden_layers", "tie_word_embeddings"),
    # of modules that predict several tokens at once, which no engine here asks
    "mtp_*",
    # said by layer_types, or by sliding_window, once the class has read them
    *("max_window_layers", "use_sliding_window", "sliding_window_pattern"),
    # how long a prompt may be; where it changes the rotation, it is said by `_normalised`
    *("max_position_embeddings", "original_max_position_embeddings", "n_positions", "seq_length"),
    *("max_seq*",),
)
"""Settings that do not change what the same weights compute, as patterns of their names."""

MOST_LAYERS = 10_000
"""More would be a slip of the pen, and classes make lists of so many."""

_LARGEST = 2**40
_LABELS = ("num_labels", "id2label", "label2id")  # of a classifier's head
_ROPE_SPELLINGS = ("rope_parameters", "rope_scaling", "rope_theta", "rope_local_base_freq")
_STRETCH = (
    *("factor", "original_max_position_embeddings", "attention_factor", "low_freq_factor"),
    *("high_freq_factor", "short_factor", "long_factor", "beta_fast", "beta_slow"),
)
"""Parameters of a rotation that is stretched for longer prompts."""
_YARN = {"beta_fast": 32, "beta_slow": 1, "truncate": True}  # as transformers fills them in


class Meaning(NamedTuple):
    """What a config.json says.

    Attributes:
        computes: dotted name -> value, of what changes what the weights compute.
        other: the same of what does not.
        known: whether transformers has the model's type; else the file is taken as it is spelled.
    """

    computes: dict[str, Any]
    other: dict[str, Any]
    known: bool


def meaning(config: Mapping[str, Any]) -> Meaning:
    """Read a config.json as the model's own class does.

    Args:
        config: config.json as it is.

    Raises:
        CheckpointError: transformers has a class for it that does not take it.
    """
    config = {name: _decoded(value) for name, value in config.items()}
    kind = _class_of(config)
    for name, value in flatten(config).items():
        layers = name.endswith(("layers", "n_layer"))
        if isinstance(value, int) and value > (MOST_LAYERS if layers else _LARGEST):
            if layers or not _is_ignored(name):
                raise CheckpointError(f"has {name} {short(value, 40)} in config.json")
    if kind is None:
        values = {name: value for name, value in config.items() if _is_set(name, value)}
    else:
        values = _read(kind, config)
    return Meaning(*_parted(values), known=kind is not None)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without what transformers warns of: whatever it makes of a file is looked at."""
    from transformers.utils import logging

    loudness = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(loudness)


def ties_by_default(config: Mapping[str, Any]) -> bool | None:
    """Whether a model whose config.json is silent has its head tied; None if that is not known."""
    kind = _class_of(config)
    if kind is None:
        return None
    found = getattr(kind, "tie_word_embeddings", None)
    return found if isinstance(found, bool) else None


def text_alone(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A config.json as its text decoder's own class would write it; of a text model, as it is."""
    text = text_config(config)
    if text is config:
        return config
    kind, whole = text.get("model_type"), _class_of(config)
    if kind is None and whole is not None:
        kind = whole().text_config.model_type  # what the class takes it for
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CLASSES

    name = CLASSES.get(kind) if isinstance(kind, str) else None
    return {**text, "model_type": kind, "architectures": [name]}


def in_words(name: str, one: Meaning, other: Meaning, *configs: Mapping[str, Any]) -> str:
    """How two files differ in one of `Meaning.computes`.

    Args:
        name: the setting's.
        one: of the file that is spoken of.
        other: of the base.
        configs: both files as they are spelled.
    """
    own, wanted = (short(found.computes.get(name), 120) for found in (one, other))
    spelled = [key for key in _ROPE_SPELLINGS if any(key in config for config in configs)]
    where = f" ({', '.join(spelled)} in config.json)" if "rope_parameters" in name else ""
    return f"has {short(name, 120)} {own}, base has {wanted}{where}: it computes differently"


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names whose values differ, sorted; what is missing is null."""
    return sorted(n for n in one.keys() | other.keys() if one.get(n) != other.get(n))


def _decoded(value: Any) -> Any:
    """Infinity as a number: transformers writes it as `{"__float__": "Infinity"}`."""
    if isinstance(value, Mapping):
        tag = value.get("__float__") if len(value) == 1 else None
        if tag in ("Infinity", "-Infinity"):
            return float(tag)
        return {name: _decoded(inner) for name, inner in value.items()}
    return list(map(_decoded, value)) if isinstance(value, list) else value


def _class_of(config: Mapping[str, Any]) -> Any:
    from transformers import CONFIG_MAPPING  # seconds to import, and not always needed

    name = config.get("model_type")
    return CONFIG_MAPPING[name] if isinstance(name, str) and name in CONFIG_MAPPING else None


def _read(kind: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """All that the class says of a file; null is unset but where the class knows of it."""
    nullable = {f.name for f in dataclasses.fields(kind) if "None" in str(f.type)}
    known = {field.name for field in dataclasses.fields(kind)}
    given = {
        name: copy.deepcopy(value)
        for name, value in config.items()
        if (value is not None or kind.attribute_map.get(name, name) in nullable)
        and name not in ("model_type", *_LABELS)
    }
    try:
        with quiet_transformers():  # what it warns of is compared
            found: dict[str, Any] = kind(**given).to_dict()
    except Exception as error:  # each class has checks of its own
        why = " ".join(str(error).split())
        raise CheckpointError(
            f"transformers' {kind.__name__} does not take its config.json: {short(why)}"
        ) from None
    if "hidden_activation" in known and "hidden_act" not in known:
        found.pop("hidden_act", None)  # Gemma's files have both, its class reads one
    return {n: v for n, v in found.items() if n in known or _is_set(n, v)}


def _is_set(name: str, value: object) -> bool:
    """Whether a setting that no class knows says anything: not if false, empty or a factor of 1."""
    if name.endswith(("multiplier", "scale", "scaling")) and value == 1:
        return False
    return value is not None and value is not False and value not in ("", [], {})


def _parted(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What computes and what does not, with dotted names."""
    computes: dict[str, Any] = {}
    other: dict[str, Any] = {}
    for name, value in flatten(_normalised(values)).items():
        (other if _is_ignored(name) else computes)[name] = value
    return computes, other


def _is_ignored(name: str) -> bool:
    """Whether a dotted name, or what it belongs to, is one of `IGNORED`; no part of a rotation."""
    names = [name, *name.split(".")]
    if "rope_parameters" in names:
        names = name.partition("rope_parameters")[0].split(".")
    return not _of_generation().isdisjoint(names) or any(
        fnmatch.fnmatchcase(n, p) for n in names for p in IGNORED
    )


@functools.cache
def _of_generation() -> frozenset[str]:
    """How a text is sampled, which older files say in config.json."""
    from transformers import GenerationConfig

    return frozenset(GenerationConfig().to_dict())


def _normalised(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with what follows from others filled in, and one word for each function."""
    found = {n: _normalised(v) if _is_model(v) else v for n, v in values.items()}
    heads, width = (_count(found.get(n)) for n in ("num_attention_heads", "hidden_size"))
    if heads and width:
        found["head_dim"] = found.get("head_dim") or width // heads
        found["num_key_value_heads"] = found.get("num_key_value_heads") or heads
    for name, value in found.items():
        if "act" in name and isinstance(value, str):
            found[name] = {"swish": "silu", "gelu_python": "gelu"}.get(value, value)
    kinds = found.get("layer_types")
    if isinstance(kinds, list) and not any("sliding" in str(kind) for kind in kinds):
        found.pop("sliding_window", None)
    scaling = found.get("rope_scaling")
    if "rope_parameters" not in found and (isinstance(scaling, Mapping) or "rope_theta" in found):
        own = scaling if isinstance(scaling, Mapping) else {}  # of a type that has no class
        found["rope_parameters"] = {"rope_theta": found.get("rope_theta"), **own}
    rope = found.get("rope_parameters")
    if isinstance(rope, Mapping):
        for name in ("rope_theta", "partial_rotary_factor", "rope_scaling"):
            found.pop(name, None)  # the class has put them there
        nested = {name: part for name, part in rope.items() if isinstance(part, Mapping)}
        length = found.get("max_position_embeddings")
        parts = {name: _rotation(part, length) for name, part in nested.items()}
        found["rope_parameters"] = parts or _rotation(rope, length)
    return found


def _rotation(rope: Mapping[str, Any], length: object) -> dict[str, Any]:
    """The parameters of a rotary embedding, defaults filled in; `length` where it matters."""
    found = {n: v for n, v in rope.items() if v is not None and n != "type"}
    if found.get("partial_rotary_factor") == 1:
        del found["partial_rotary_factor"]
    kind, factor = found.get("rope_type") or rope.get("type") or "default", found.get("factor")
    if kind == "linear" and factor == 1:
        kind = "default"
    if kind in ("default", "linear"):
        found = {n: v for n, v in found.items() if n not in _STRETCH}
        found |= {} if factor in (None, 1) else {"factor": factor}
    found["rope_type"] = kind
    if kind == "yarn":
        found = _YARN | found
        plain = isinstance(factor, int | float) and not {"mscale", "mscale_all_dim"} & set(found)
        if plain and isinstance(factor, int | float):
            found.setdefault("attention_factor", 0.1 * math.log(factor) + 1 if factor > 1 else 1.0)
        if isinstance(found.get("attention_factor"), float):
            found["attention_factor"] = round(found["attention_factor"], 6)
    if kind in ("dynamic", "longrope"):
        found["max_position_embeddings"] = length
    return found


def _is_model(value: object) -> bool:
    """Whether a value is the configuration of a part, such as a text decoder."""
    return isinstance(value, Mapping) and "hidden_size" in value


def _count(value: object) -> int:
    """A number above 0; of anything else, 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
