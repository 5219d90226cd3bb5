"""Does an expert fit its base? Compared by config.json, headers and tokenizer; no weights are read.

Owns what must be equal and how a difference is told. Knows nothing of where checkpoints come from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from search.checkpoints.architectures import refusals
from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.meaning import differing, in_words, meaning
from search.errors import CheckpointError
from search.merging.plan import layer_of

OTHER_TOKENIZER = "has another tokenizer than the base (vocabulary, merges or added tokens)"

_FLOATS = {"F32", "F16", "BF16"}


def faults_of_base(base: Checkpoint) -> list[str]:
    """Why a base cannot be searched; empty if it can.

    Raises:
        CheckpointError: config.json has no number of layers.
    """
    faults = refusals(base.config)
    odd = {name: info.dtype for name, info in base.tensors.items() if info.dtype not in _FLOATS}
    if odd:
        words = [f"{name} {dtype}" for name, dtype in odd.items()]
        faults.append(
            f"has {len(odd)} tensors that are not bf16, fp16 or fp32 (quantised?): {_some(words)}"
        )
    layers = {layer_of(tensor) for tensor in base.tensors} - {None}
    if layers != set(range(base.n_layers)):
        seen = sorted(map(str, layers))
        faults.append(f"has tensor names that show layers {seen}, not {base.n_layers}")
    return faults


def mismatches(base: Checkpoint, expert: Checkpoint, parse: Callable[[bytes], Any]) -> list[str]:
    """How an expert differs from its base in what must be equal; empty if it fits.

    Args:
        base: the base, perhaps headers only.
        expert: the same of an expert.
        parse: `vocabulary`, or that with a memory: most experts' files are their base's.

    Raises:
        CheckpointError: config.json has no number of layers, or a tokenizer cannot be read.
    """
    faults = []
    if expert.n_layers != base.n_layers:
        faults.append(
            f"has {expert.n_layers} layers, base has {base.n_layers} "
            "(num_hidden_layers in config.json)"
        )
    kinds = [
        f"has {entry} {expert.config.get(entry)}, base has {base.config.get(entry)}"
        for entry in ("architectures", "model_type")
        if expert.config.get(entry) != base.config.get(entry)
        and (entry == "model_type" or expert.config.get(entry) is not None)
    ]
    faults += kinds or _settings(base, expert)
    if expert.tied != base.tied:
        faults.append(f"has tie_word_embeddings {expert.tied}, base has {base.tied}")
    for word, names in (
        ("lacks", set(base.tensors) - set(expert.tensors)),
        ("has unknown", set(expert.tensors) - set(base.tensors)),
    ):
        if names:
            faults.append(f"{word} {len(names)} tensors: {_some(sorted(names))}")
    shared = [n for n in base.tensors if n in expert.tensors]
    for entry in ("shape", "dtype"):
        differ = [
            f"{n} {_show(getattr(expert.tensors[n], entry))} (base: "
            f"{_show(getattr(base.tensors[n], entry))})"
            for n in shared
            if getattr(expert.tensors[n], entry) != getattr(base.tensors[n], entry)
        ]
        if differ:
            faults.append(f"differs in {entry} in {len(differ)} tensors: {_some(differ)}")
    files = [checkpoint.path / "tokenizer.json" for checkpoint in (base, expert)]
    if all(file.is_file() for file in files):
        first, second = (_read_tokenizer(file, parse) for file in files)
        if first != second:
            faults.append(OTHER_TOKENIZER)
    return faults


def _settings(base: Checkpoint, expert: Checkpoint) -> list[str]:
    """Settings of config.json that change what the same weights compute; names of one model."""
    try:
        wanted, own = meaning(base.config), meaning(expert.config)
    except CheckpointError as error:
        return [str(error)]
    files = expert.config, base.config
    names = differing(own.computes, wanted.computes)
    return [in_words(name, own, wanted, *files) for name in names]


def notes_of_base(base: Checkpoint) -> list[str]:
    """What is said of a base that can be searched."""
    try:
        known = meaning(base.config).known
    except CheckpointError:
        return []
    return (
        []
        if known
        else [
            f"has model_type {base.config.get('model_type')!r}, which transformers does not know: "
            "settings of config.json are compared as they are spelled, without defaults"
        ]
    )


def _read_tokenizer(file: Path, parse: Callable[[bytes], Any]) -> Any:
    try:
        return parse(file.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from None


def vocabulary(file: bytes) -> Any:
    """What decides token numbers, of the bytes of a tokenizer.json."""
    data = json.loads(file)
    added = sorted((t.get("id"), t.get("content")) for t in data.get("added_tokens", []))
    model = data.get("model", {})
    return added, model.get("type"), model.get("vocab"), model.get("merges")


def _some(words: Sequence[str]) -> str:
    more = f", ... ({len(words) - 3} more)" if len(words) > 3 else ""
    return ", ".join(words[:3]) + more


def _show(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
