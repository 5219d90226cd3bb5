"""A LoRA adapter (PEFT's folder) as an expert of its base: the weights that merging it gives.

W' = W + alpha / r * B A (Hu et al. 2021, arXiv 2106.09685, section 4.1), with alpha / sqrt(r) for
rank-stabilised LoRA (Kalajdzievski 2023, arXiv 2312.03732); in float32, rounded once to the base's
dtype: the bits of PEFT's own merge into a float32 base, rounded. Weights that the adapter holds
whole (modules_to_save, biases) replace the base's. What cannot be merged so is refused, and so is
what changes one of two tied tensors. Knows nothing of where the result is kept
(`search.checkpoints.cache`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from objectives.words import counted
from search.checkpoints.cache import digest, identity
from search.checkpoints.checkpoint import HEADS, Checkpoint, revision_of
from search.checkpoints.files import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    Weights,
    choose,
    unreadable,
)
from search.checkpoints.sources.adapter_config import AdapterConfig
from search.checkpoints.sources.pickled import load
from search.checkpoints.towers import is_of_tower, renamed
from search.common.errors import CheckpointError, ExpertMismatchError
from search.common.values import short, some

_PEFT = "base_model.model."
_PART = re.compile(r"base_model\.model\.(.+)\.lora_(embedding_)?([AB])(?:\.weight)?")


class Delta(NamedTuple):
    """What is added to one tensor: `scale` x B A, transposed where the base stores it so."""

    a: str
    b: str
    scale: float
    transposed: bool


def adapter_files(folder: Path) -> tuple[Path, ...]:
    """The files that make an adapter what it is."""
    files = choose(folder).files or ADAPTER_WEIGHTS[:1]
    return folder / ADAPTER_CONFIG, folder / files[0]


def open_adapter(
    folder: Path, base: Checkpoint | None, found: Weights, *, allow_bin: bool = False
) -> Checkpoint:
    """The expert that an adapter makes of its base; headers only, nothing is merged yet.

    Args:
        folder: PEFT's.
        base: what it is merged into.
        found: which of the folder's files it is, by the names of the place that it comes from.
        allow_bin: read adapter_model.bin where there is no adapter_model.safetensors.

    Raises:
        CheckpointError: the files cannot be read, or the adapter is of a kind that is not a plain
            sum; every reason is named.
        ExpertMismatchError: it was made for another base.
    """
    if base is None:
        raise CheckpointError(f"{folder} is a LoRA adapter, and there is no base to merge it into")
    if found.files == ADAPTER_WEIGHTS[1:] and not allow_bin:
        raise CheckpointError(
            f"{folder / ADAPTER_WEIGHTS[1]} is pickled: if you trust it, set allow_bin: true in "
            "the family's YAML"
        )
    adapter = Adapter(folder, base)
    notes = (*found.notes, *adapter.notes)
    return Checkpoint(folder, base.config, base.tensors, adapter, notes=notes)


class Adapter:
    """`search.checkpoints.checkpoint.Derived` of an adapter and its base."""

    kind = "LoRA"

    def __init__(self, folder: Path, base: Checkpoint) -> None:
        """Read the headers; see `open_adapter` for what is raised."""
        self.files, self._folder, self._base = base.path, folder, base
        self.config = AdapterConfig.read(folder)
        every, self._tensor = _open(adapter_files(folder)[1])
        shapes = {k: s for k, s in every.items() if not is_of_tower(k.removeprefix(_PEFT))}
        self.deltas, self.whole = _match(self.config, shapes, base)
        if base.tied:
            self._leave_one_of_two()
        self._refuse_incomplete()
        rows = {shapes[key][0] for name, key in self.whole.items() if base.rows_of(name)}
        self.notes = tuple(
            f"holds {own} rows of embeddings, base has {base.rows}: "
            + (f"the first {base.rows} are merged" if own > base.rows else "the others are its own")
            for own in sorted(rows - {base.rows})
        )
        if beside := len(every) - len(shapes):
            self.notes += (f"has {beside} tensors for a vision tower or projector: left alone",)
        own = revision_of(folder) or folder.name
        self.origin = f"LoRA {own} merged into {base.revision or base.label}"

    def get(self, name: str) -> torch.Tensor:
        """The merged tensor, in the base's dtype."""
        weight = self._base.read(name)
        dtype, rows = weight.dtype, self._base.rows_of(name)
        if name in self.whole:
            own = self._tensor(self.whole[name])
            lost = weight[own.shape[0] :] if rows else weight[:0]
            weight = torch.cat([own[:rows], lost.to(own.dtype)]) if rows else own
        if name in self.deltas:
            delta = self.deltas[name]
            a, b = (self._tensor(key).float() for key in (delta.a, delta.b))
            product = (b @ a).mul_(delta.scale)
            weight = (product.T if delta.transposed else product).add_(weight)
        return weight.to(dtype)

    def key(self) -> str:
        """Hash of the adapter's bytes and of which base it is merged into."""
        base = {self._base.path / info.file for info in self._base.tensors.values()}
        return digest(*adapter_files(self._folder), identity(base))

    def _refuse_incomplete(self) -> None:
        """Refuse an adapter that lacks what its configuration says was trained.

        Raises:
            ExpertMismatchError: naming what modules_to_save or bias promise and no tensor holds.
        """
        tied = {head: self._base.embeddings for head in HEADS} if self._base.tied else {}
        wanted = self.config.held_whole((*self._base.tensors, *tied), self.deltas)
        held = {*self.whole, *(name for name, kept in tied.items() if kept in self.whole)}
        if missing := sorted(wanted - held):
            raise ExpertMismatchError(
                f"is a LoRA adapter that lacks {some(missing)}, which its modules_to_save or bias "
                "say was trained: save it again, all of it, or merge it where it was trained"
            )

    def _leave_one_of_two(self) -> None:
        """Of a tied base's embeddings and head, what the adapter makes of both; one tensor is left.

        Raises:
            ExpertMismatchError: they would differ, which a tied model cannot hold.
        """
        embeddings = str(self._base.embeddings)
        both = {n for n in (*self.deltas, *self.whole) if n == embeddings or n in HEADS}
        if both & set(self.deltas):
            raise ExpertMismatchError(
                f"is a LoRA adapter with LoRA matrices on {', '.join(sorted(both))}, and in the "
                "base the head is tied to the embeddings (tie_word_embeddings): merged, it is not "
                "what was trained. Train them whole: modules_to_save=['embed_tokens'] with "
                "ensure_weight_tying=True"
            )
        held = {name: self._tensor(self.whole[name]) for name in both}
        found = [held.get(embeddings), next((t for n, t in held.items() if n in HEADS), None)]
        if held and not _equal(*(self._base.read(embeddings) if t is None else t for t in found)):
            raise ExpertMismatchError(
                f"is a LoRA adapter that holds {', '.join(sorted(both))}, and in the base "
                "lm_head.weight is tied to the embeddings (tie_word_embeddings): a tied model "
                "cannot hold one without the other. Train with ensure_weight_tying=True"
            )
        for name in both - {embeddings}:
            kept = self.whole.pop(name)
            self.whole.setdefault(embeddings, kept)


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.to(other.dtype), other)


Shapes = Mapping[str, tuple[int, ...]]


def _open(file: Path) -> tuple[Shapes, Callable[[str], torch.Tensor]]:
    """Shapes by name, and what reads a tensor.

    Raises:
        CheckpointError: the file cannot be read, or holds what is no float.
    """
    if file.name == ADAPTER_WEIGHTS[1]:
        found = load(file, "cpu")
        _refuse_odd(file, [key for key, t in found.items() if not t.is_floating_point()])
        return {key: tuple(t.shape) for key, t in found.items()}, found.__getitem__
    try:
        opened: Any = safe_open(str(file), framework="pt", device="cpu")
        parts = {key: opened.get_slice(key) for key in opened.keys()}
        shapes = {key: tuple(part.get_shape()) for key, part in parts.items()}
    except (SafetensorError, OSError) as error:
        raise unreadable(file, error, "is missing or truncated") from None
    floats = ("F", "BF")
    _refuse_odd(file, [k for k, part in parts.items() if not part.get_dtype().startswith(floats)])
    return shapes, opened.get_tensor


def _refuse_odd(file: Path, names: Sequence[str]) -> None:
    """Refuse quantised tensors: what scales they have is not known."""
    if names:
        which = counted(len(names), "tensor that is no float", "tensors that are no floats")
        raise CheckpointError(
            f"{file} has {which} (quantised?): {some(names)}; save the adapter in float32"
        )


def _match(
    config: AdapterConfig, shapes: Shapes, base: Checkpoint
) -> tuple[dict[str, Delta], dict[str, str]]:
    """Which base tensor each of the adapter's tensors belongs to, by name and shape."""
    where = _in_base(shapes, base)
    parts: dict[tuple[str, bool], dict[str, str]] = {}
    whole: dict[str, str] = {}
    faults: list[str] = []
    for key, shape in shapes.items():
        if found := _PART.fullmatch(key):
            parts.setdefault((found[1], bool(found[2])), {})[found[3]] = key
            continue
        faults += _differs(where[key], shape, base)
        whole[where[key]] = key
    deltas = {}
    for (module, embedding), keys in parts.items():
        a, b = shapes.get(keys.get("A", ""), ()), shapes.get(keys.get("B", ""), ())
        if len(a) != 2 or len(b) != 2 or not 0 < a[0] == b[1]:
            faults.append(f"{module}: A {_show(a)} and B {_show(b)} are no pair of LoRA matrices")
            continue
        name = where[keys["A"]]
        transposed = embedding or config.fan_in_fan_out
        faults += _differs(name, (a[1], b[0]) if transposed else (b[0], a[1]), base, whole=False)
        deltas[name] = Delta(keys["A"], keys["B"], config.scale(module, a[0]), transposed)
    if not deltas and not whole:
        faults.append("it holds no LoRA matrices of the text decoder")
    if faults:
        made_for = short(config.base_model_name_or_path or "a base that it does not name")
        faults = list(dict.fromkeys(faults))
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise ExpertMismatchError(
            f"is a LoRA adapter that does not fit this base (it was made for {made_for}): "
            + "; ".join(faults[:3])
            + more
        )
    return deltas, whole


def _in_base(keys: Iterable[str], base: Checkpoint) -> dict[str, str]:
    """The base's name of what each of an adapter's tensors belongs to.

    PEFT writes the names of loaded modules, by whatever class and version: not those of files,
    where not every head is called lm_head.
    """
    own = {}
    for key in keys:
        part = _PART.fullmatch(key)
        module = key.removeprefix(_PEFT).replace(".base_layer.", ".")
        own[key] = f"{part[1]}.weight" if part else module
    heads = [head for head in HEADS if head in base.tensors]
    other = renamed(own.values(), base.tensors)
    return {
        key: heads[0] if heads and name in HEADS else other.get(name, name)
        for key, name in own.items()
    }


def _differs(
    name: str, shape: tuple[int, ...], base: Checkpoint, *, whole: bool = True
) -> list[str]:
    info = base.tensors.get(name)
    if info is None and base.tied and name in HEADS and base.embeddings:
        info = base.tensors[base.embeddings]
        name = base.embeddings
    if info is None:
        return [f"no {name} there"]
    rows = base.rows_of(name) if whole else 0
    if info.shape != shape and not (rows and len(shape) > 0 and info.shape[1:] == shape[1:]):
        return [f"{name} {_show(shape)} (base: {_show(info.shape)})"]
    return []


def _show(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "missing"
