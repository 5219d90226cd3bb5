"""One checkpoint on disk: open its safetensors by header, read tensors.

Owns the Hugging Face folder format (config.json, one or several safetensors, tokenizer files); what
writes one is `search.export.writer`. Knows nothing of families (`search.checkpoints.family`),
recipes, engines.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from safetensors import SafetensorError, safe_open

from search.errors import CheckpointError

_INDEX = "model.safetensors.index.json"
_HEADS = ("lm_head.weight", "embed_out.weight")
# Buffers that old checkpoints hold: rotary frequencies, and the causal masks of GPT-2 and GPT-NeoX.
_NOT_WEIGHTS = (
    "rotary_emb.inv_freq",
    *(f".{block}.{mask}" for block in ("attn", "attention") for mask in ("bias", "masked_bias")),
)
ORIGIN = "layer_swap_search_origin"
"""Entry of an index's metadata that says what weights in our cache were made of."""
FETCHED_FROM = ".fetched_from"
"""File in a copy in our cache that says which URL it was fetched from; see `sources.url`."""


class TensorInfo(NamedTuple):
    """What a header says of a tensor: its file, dtype (safetensors' name) and shape."""

    file: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Size of the weights, in bytes."""
        digits = re.search(r"\d+", self.dtype)  # BF16, F8_E4M3; BOOL has none and takes a byte
        return math.prod(self.shape) * (int(digits[0]) if digits else 8) // 8


class Derived(Protocol):
    """Weights that no safetensors file holds yet, such as a LoRA merge.

    `search.checkpoints.cache` writes them.

    Attributes:
        kind: a word for it: LoRA, pickled.
        files: folder whose configuration and tokenizer belong to the weights.
        origin: what the weights are made of, for people.
    """

    kind: str
    files: Path
    origin: str

    def get(self, name: str) -> torch.Tensor:
        """The tensor, in the dtype that its header entry says."""
        ...

    def key(self) -> str:
        """Hash of everything that the weights depend on."""
        ...


@dataclass
class Checkpoint:
    """A checkpoint folder, opened: configuration and headers in memory, weights memory-mapped.

    Attributes:
        path: the folder.
        config: config.json as it is.
        tensors: tensor name -> header entry; with tied embeddings the head is left out.
        derived: where the weights come from, if not from safetensors in the folder.
    """

    path: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, TensorInfo]
    derived: Derived | None = None
    _files: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> Checkpoint:
        """Read the configuration and all headers; weights stay on disk.

        Raises:
            CheckpointError: the folder, config.json, a shard or a tensor of the index is missing,
                or a file is truncated.
        """
        return cls.of(Path(path), _local_headers(Path(path)))

    @classmethod
    def of(
        cls,
        folder: Path,
        headers: Iterable[tuple[str, TensorInfo]],
        derived: Derived | None = None,
    ) -> Checkpoint:
        """A folder whose headers are known from elsewhere, such as the hub.

        Raises:
            CheckpointError: config.json is missing; and what `headers` raises, which comes second.
        """
        config = read_json(folder / "config.json", "a Hugging Face model folder holds one")
        tensors = {n: info for n, info in headers if not n.endswith(_NOT_WEIGHTS)}
        found = cls(folder, config, tensors, derived)
        if found.tied:
            for head in _HEADS:
                tensors.pop(head, None)
        return found

    @property
    def n_layers(self) -> int:
        """Number of transformer layers, from config.json."""
        for name in ("num_hidden_layers", "n_layer", "num_layers"):
            if isinstance(self.config.get(name), int):
                return int(self.config[name])
        raise CheckpointError(f"{self.path}/config.json has no num_hidden_layers")

    @property
    def tied(self) -> bool:
        """Whether the head is the embedding matrix; a config.json that is silent follows the files.

        Gemma's published config.json leaves the entry out: its class ties by default.
        """
        said = self.config.get("tie_word_embeddings")
        return not any(h in self.tensors for h in _HEADS) if said is None else bool(said)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(math.prod(info.shape) for info in self.tensors.values())

    @property
    def bytes(self) -> int:
        """Size of the weights, in bytes."""
        return sum(info.bytes for info in self.tensors.values())

    @property
    def revision(self) -> str:
        """Which weights these are, for records and model cards; empty for a plain folder.

        `org/name@commit` in the hub's cache; what was merged, in ours.
        """
        if self.derived is not None:
            return self.derived.origin
        index = self.path / _INDEX
        noted = read_json(index, "").get("metadata") if index.is_file() else None
        return str((noted or {}).get(ORIGIN) or revision_of(self.path))

    @property
    def label(self) -> str:
        """A short name for people: the hub id with the commit's first digits, or the folder's."""
        name, at, commit = revision_of(self.path).partition("@")
        return f"{name}{at}{commit[:7]}" or self.path.name

    def read(self, name: str) -> torch.Tensor:
        """The tensor as a memory-mapped view (CPU, the checkpoint's dtype): do not write into it.

        Raises:
            CheckpointError: the name is not in the checkpoint.
        """
        if name not in self.tensors:
            raise CheckpointError(f"{self.path} has no tensor {name}")
        if self.derived is not None:
            return self.derived.get(name)
        file = self.tensors[name].file
        if file not in self._files:
            self._files[file] = safe_open(str(self.path / file), framework="pt", device="cpu")
        tensor: torch.Tensor = self._files[file].get_tensor(name)
        return tensor

    def non_finite(self) -> Iterator[str]:
        """Names of the tensors that hold NaN or infinity; reads every weight once."""
        for name in self.tensors:
            if not is_finite(self.read(name)):
                yield name


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether it holds no NaN or infinity; extremes are found far faster than each is looked at."""
    if not tensor.numel() or not tensor.is_floating_point():
        return True
    low, high = tensor.aminmax()  # NaN if any is
    return bool(torch.isfinite(low) & torch.isfinite(high))


def revision_of(folder: Path) -> str:
    """Where a folder of a cache comes from, else empty.

    `org/name@commit` in the hub's (its documented layout), `URL#key` in ours.
    """
    if (folder / FETCHED_FROM).is_file():
        return (folder / FETCHED_FROM).read_text(encoding="utf-8")
    *_, model, kind, commit = ("", "", "", *folder.absolute().parts)
    known = model.startswith("models--") and kind == "snapshots"
    return f"{model.removeprefix('models--').replace('--', '/')}@{commit}" if known else ""


def read_json(file: Path, why: str) -> dict[str, Any]:
    """A JSON object from a file; `why` completes the error "FILE is missing: ..."."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing: {why}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{file} must hold a JSON object")
    return data


def weight_map(index: Path) -> dict[str, str]:
    """Tensor name -> file, as the index of a checkpoint in several files says.

    Raises:
        CheckpointError: it cannot be read, or says something else.
    """
    found = read_json(index, "").get("weight_map")
    if not isinstance(found, dict) or not all(isinstance(file, str) for file in found.values()):
        raise CheckpointError(f"{index} has no weight_map: tensor name -> file")
    return found


def _local_headers(folder: Path) -> Iterator[tuple[str, TensorInfo]]:
    seen = set()
    for file in _shards(folder):
        for name, info in _header(folder / file):
            seen.add(name)
            yield name, info
    if (folder / _INDEX).exists():
        lost = [name for name in weight_map(folder / _INDEX) if name not in seen]
        if lost:
            raise CheckpointError(
                f"{folder}: {_INDEX} names tensors that no shard holds: {lost[:5]}"
            )


def _shards(folder: Path) -> list[str]:
    if (folder / _INDEX).exists():
        files = sorted(set(weight_map(folder / _INDEX).values()))
        missing = [f for f in files if not (folder / f).is_file()]
        if missing or not files:
            raise CheckpointError(
                f"{folder}: {_INDEX} names {len(files)} shards, missing: {', '.join(missing)}"
            )
        return files
    files = sorted(f.name for f in folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(
            f"{folder} holds no *.safetensors; convert it with transformers' "
            "save_pretrained(safe_serialization=True)"
            + (
                ", or, if you trust its *.bin, set allow_bin: true in the family's YAML"
                if any(folder.glob("pytorch_model*.bin"))
                else ""
            )
        )
    if len(files) > 1:
        raise CheckpointError(f"{folder} holds {len(files)} safetensors files but no {_INDEX}")
    return files


def _header(file: Path) -> Iterator[tuple[str, TensorInfo]]:
    try:
        with safe_open(str(file), framework="pt") as opened:
            for name in opened.keys():
                part = opened.get_slice(name)
                yield name, TensorInfo(file.name, part.get_dtype(), tuple(part.get_shape()))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is truncated or not safetensors: {error}") from None
