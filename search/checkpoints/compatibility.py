"""Does an expert fit its base? Compared by config.json, headers and tokenizer.

Owns what must be equal, how a difference is told, and what is told of an expert that fits: what is
cast, cut or known to it alone. Of weights, only a head of its own in a tied model is read. Knows
nothing of where checkpoints come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from objectives.words import counted
from search.checkpoints.architectures import refusals
from search.checkpoints.checkpoint import HEADS, Checkpoint
from search.checkpoints.files import is_own, read_json
from search.checkpoints.meaning import differing, in_words, meaning, text_alone
from search.checkpoints.tokenizer import Difference, Parse, compare
from search.checkpoints.towers import is_multimodal
from search.common.errors import CheckpointError
from search.common.values import short, some
from search.merging.plan import layer_of

OTHER_TOKENIZER = "has another tokenizer than the base"
"""How the fault of an expert that has one begins."""

_FLOATS = {"F32", "F16", "BF16"}
_CAST = {*_FLOATS, "F64"}
_TOKENIZERS = ("tokenizer.json", "vocab.*", "tekken.json", "*.model", "*.tiktoken")
"""Files of which one at least holds a tokenizer."""
_OPENED = ("generation_config.json", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class Comparison:
    """What is found of an expert beside its base.

    Attributes:
        faults: how it differs in what must be equal; empty if it fits.
        notes: what is to be known of it.
        tokens: how its tokenizer differs.
    """

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tokens: Difference = field(default_factory=Difference)


def look_at_base(base: Checkpoint) -> Comparison:
    """Why a base cannot be searched, and what is to be known of it.

    Raises:
        CheckpointError: config.json has no number of layers.
    """
    faults = refusals(base.config)
    odd = {name: info.dtype for name, info in base.tensors.items() if info.dtype not in _FLOATS}
    if odd:
        words = [f"{name} {dtype}" for name, dtype in odd.items()]
        which = counted(len(odd), "tensor that is not", "tensors that are not")
        faults.append(f"has {which} bf16, fp16 or fp32 (quantised?): {some(words)}")
    layers = {layer_of(tensor) for tensor in base.tensors} - {None}
    if len(layers) != base.n_layers or layers != set(range(base.n_layers)):
        seen = sorted(map(str, layers))
        faults.append(f"has tensor names that show layers {seen}, not {short(base.n_layers, 20)}")
    said, rows = base.text.get("vocab_size"), base.rows
    if isinstance(said, int) and rows and said != rows:
        faults.append(
            f"has vocab_size {short(said, 40)} in config.json, and {rows} rows of embeddings: no "
            "engine loads it"
        )
    faults += _beside(base.path)
    notes = [*base.notes]
    if base.carried:
        notes.append(
            f"has {counted(len(base.carried), 'tensor')} beside its text decoder ({base.parts}): "
            "they are not searched, and an export has the base's"
        )
    try:
        known = meaning(base.config).known
    except CheckpointError as error:
        return Comparison(faults or [str(error)], notes)
    if not known:
        notes.append(
            f"has model_type {base.config.get('model_type')!r}, which transformers does not know: "
            "settings of config.json are compared as they are spelled, without defaults"
        )
    elif not base.tied and base.embeddings and not any(head in base.tensors for head in HEADS):
        faults.append(
            "has no lm_head.weight, and does not say that it is the embeddings "
            "(tie_word_embeddings in config.json)"
        )
    return Comparison(faults + _head(base), notes)


def _beside(folder: Path) -> list[str]:
    """What lacks or cannot be read of the small files that an engine opens with a base."""
    faults = []
    if not any(file for pattern in _TOKENIZERS for file in folder.glob(pattern)):
        faults.append(
            "has no tokenizer, with which prompts are read: put tokenizer.json or tokenizer.model "
            "beside its weights"
        )
    for name in _OPENED:
        if (folder / name).is_file() and is_own(folder / name, folder):
            try:
                read_json(folder / name, "")
            except CheckpointError as error:
                faults.append(str(error))
    return faults


def look_at(base: Checkpoint, expert: Checkpoint, parse: Parse) -> Comparison:
    """How an expert differs from its base in what must be equal, and what is to be known of it.

    Args:
        base: the base, perhaps headers only.
        expert: the same of an expert.
        parse: `tokenizer.parse`, or that with a memory: most experts' files are their base's.

    Raises:
        CheckpointError: config.json has no number of layers, or a tokenizer cannot be read.
    """
    faults, notes = [], [*expert.notes]
    if expert.n_layers != base.n_layers:
        faults.append(
            f"has {short(expert.n_layers, 20)} layers, base has {base.n_layers} "
            "(num_hidden_layers in config.json)"
        )
    settings = _settings(base, expert)
    faults += settings.faults
    notes += settings.notes
    expert = one_head(expert, base)
    if expert.tied != base.tied and not (base.tied and expert.spare):
        faults.append(f"has tie_word_embeddings {expert.tied}, base has {base.tied}")
    for word, names in (
        ("lacks", set(base.tensors) - set(expert.tensors)),
        ("has unknown", set(expert.tensors) - set(base.tensors)),
    ):
        if names:
            faults.append(f"{word} {counted(len(names), 'tensor')}: {some(sorted(names))}")
    tokens = compare(base.path, expert.path, parse)
    if tokens.faults:
        faults.append(f"{OTHER_TOKENIZER}: {'; '.join(tokens.faults)}")
    notes += tokens.notes
    headers = _headers(base, expert, tokens)
    faults += headers.faults + _head(expert)
    notes += headers.notes
    return Comparison(faults, notes, tokens)


def one_head(expert: Checkpoint, base: Checkpoint) -> Checkpoint:
    """An expert of a tied base without its copy of the embeddings, which it says is its head."""
    return expert.with_one_head() if base.tied and not expert.tied else expert


def _settings(base: Checkpoint, expert: Checkpoint) -> Comparison:
    """Settings of config.json; names of one model."""
    files = own, wanted = _alike(expert.config, base.config)
    said = {
        entry: [short(file.get(entry), 120) for file in files]
        for entry in ("architectures", "model_type")
        if own.get(entry) != wanted.get(entry)
        and (entry == "model_type" or own.get(entry) is not None)
    }
    where = "" if wanted is base.config else " in its text decoder"
    kinds = [f"has {entry} {own}, base has {there}{where}" for entry, (own, there) in said.items()]
    if kinds:
        return Comparison(kinds)
    try:
        here, there = meaning(wanted), meaning(own)
    except CheckpointError as error:
        return Comparison([str(error)])
    names = differing(there.computes, here.computes)
    faults = [in_words(name, there, here, *files) for name in names]
    other = [
        f"{name} {short(there.other.get(name), 40)} (base: {short(here.other.get(name), 40)})"
        for name in differing(there.other, here.other)
        if name in TOLD and not any(found.endswith(name) for found in names)
    ]
    notes = [f"has {', '.join(other)}: no matter; an export has the base's"] if other else []
    return Comparison(faults, notes + _parts(base, expert))


def _alike(*configs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Two config.json as of one kind of model: of a text decoder where one is that alone."""
    if len({is_multimodal(config) for config in configs}) == 1:
        return list(configs)
    return [text_alone(config) for config in configs]


def _parts(base: Checkpoint, expert: Checkpoint) -> list[str]:
    """What stands beside the text decoder in one of the two alone."""
    adapter = expert.derived is not None and expert.derived.kind == "LoRA"
    if is_multimodal(base.config) and not expert.carried and not adapter:
        return [f"is the text tower only: vision tower from the base ({base.parts})"]
    if is_multimodal(expert.config) and not is_multimodal(base.config) and expert.carried:
        return [f"has more than a text decoder ({expert.parts}): left alone, as the base has none"]
    return []


TOLD = ("max_position_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")
"""Settings that do not change what the weights compute, and that whoever serves a merge meets."""


def _headers(base: Checkpoint, expert: Checkpoint, tokens: Difference) -> Comparison:
    """Shapes and dtypes of the tensors that both have."""
    shared = [name for name in base.tensors if name in expert.tensors]
    pairs = {name: (expert.tensors[name], base.tensors[name]) for name in shared}
    faults: list[str] = []
    notes: list[str] = []
    shapes: list[str] = []
    dtypes: list[str] = []
    cast: list[str] = []
    for name, (own, wanted) in pairs.items():
        both = base.rows_of(name) and expert.rows_of(name) and own.shape[1:] == wanted.shape[1:]
        if own.shape != wanted.shape and not both:
            shapes.append(f"{name} {_show(own.shape)} (base: {_show(wanted.shape)})")
        if own.dtype != wanted.dtype:
            floats = own.dtype in _CAST and wanted.dtype in _FLOATS
            (cast if floats else dtypes).append(f"{name} {own.dtype} (base: {wanted.dtype})")
    for entry, differ in (("shape", shapes), ("dtype", dtypes)):
        if differ:
            faults.append(f"differs in {entry} in {counted(len(differ), 'tensor')}: {some(differ)}")
    if cast:
        kinds = sorted({(own.dtype, wanted.dtype) for own, wanted in pairs.values()})
        words = ", ".join(f"{own} to {wanted}" for own, wanted in kinds if own != wanted)
        which = counted(len(cast), "tensor that is", "tensors that are")
        notes.append(f"has {which} cast once, {words}")
    rows = _rows(base, expert, tokens)
    return Comparison(faults + rows.faults, notes + rows.notes)


def _rows(base: Checkpoint, expert: Checkpoint, tokens: Difference) -> Comparison:
    """Rows of the embeddings: how many there are, and which tokens are known to one alone."""
    name = base.embeddings
    if name is None or name not in expert.tensors:
        return Comparison()
    rows, own = base.rows, (expert.tensors[name].shape or (0,))[0]
    faults, notes = [], []
    homeless = any(row >= own for row in tokens.added)  # Gemma 3's own tokenizer has one too many
    if homeless or (own < rows and tokens.last >= own):
        faults.append(
            f"has {own} rows of embeddings, and its tokens are numbered up to {tokens.last}"
        )
    said = expert.text.get("vocab_size")
    if isinstance(said, int) and said != own and expert.derived is None:
        notes.append(f"has vocab_size {short(said, 40)} in config.json, and {own} rows: they count")
    if own > rows:
        notes.append(f"has {own} rows of embeddings, base has {rows}: the first {rows} are merged")
    if own < rows:
        notes.append(
            f"has {own} rows of embeddings, base has {rows}: of the others, the base's stand for it"
        )
    here = {row: token for row, token in tokens.added.items() if row < min(rows, own)}
    beyond = {row: token for row, token in tokens.added.items() if row >= rows}
    if here:
        notes.append(
            f"knows {counted(len(here), 'token')} that the base does not: {_tokens(here)}; a merge "
            "has the base's tokenizer, and in these rows what the one expert that knows them has"
        )
    if beyond:
        notes.append(f"knows {_tokens(beyond)} too: a merge has no rows for them")
    if tokens.lacking:
        notes.append(
            f"does not know {counted(len(tokens.lacking), 'token')} of the base: "
            f"{_tokens(tokens.lacking)}; a merge has in these rows what the one that knows them has"
        )
    return Comparison(faults, notes)


def _head(checkpoint: Checkpoint) -> list[str]:
    """A head of its own in a model that says that it has none; of weights elsewhere, later."""
    there = [*checkpoint.spare.values(), *checkpoint.tensors.values()]
    if not checkpoint.spare or not all((checkpoint.path / i.file).is_file() for i in there):
        return []
    head = checkpoint.untied()
    if head is None:
        return []
    return [
        f"has {head} of its own, which differs from {checkpoint.embeddings}, and is to have them "
        "tied (tie_word_embeddings): transformers would not tie them, and a tied model holds one; "
        "say tie_word_embeddings: false in all config.json of the family, or remove the head"
    ]


def head_fault(checkpoint: Checkpoint) -> str:
    """Of a checkpoint whose weights are here: why its head cannot be tied; empty if it can."""
    return next(iter(_head(checkpoint)), "")


def _tokens(tokens: dict[int, str]) -> str:
    return some([f"{token} (row {row})" for row, token in sorted(tokens.items())])


def _show(value: tuple[int, ...]) -> str:
    return "x".join(map(str, value))
