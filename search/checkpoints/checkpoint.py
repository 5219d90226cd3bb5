"""One checkpoint on disk: open its safetensors by header, read tensors.

Owns the Hugging Face folder format (config.json, one or several safetensors, tokenizer files); what
writes one is `search.export.writer`. Knows nothing of families (`search.checkpoints.family`),
recipes, engines.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from safetensors import SafetensorError, safe_open

from objectives.bounds import read_whole
from search.checkpoints.files import INDEX, Weights, choose, read_json, unreadable
from search.checkpoints.meaning import MOST_LAYERS, ties_by_default
from search.checkpoints.towers import is_carried, renamed, text_config
from search.common.errors import CheckpointError
from search.common.values import short, some
from search.merging.plan import layer_of

_EMBEDDINGS = (
    *("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight"),
    "tok_embeddings.weight",
)
HEADS = ("lm_head.weight", "embed_out.weight", "language_model.lm_head.weight")
_BY_TOKEN = (*HEADS, "lm_head.bias", "embed_out.bias", "embed_tokens_per_layer.weight")
# Buffers that old checkpoints hold: rotary frequencies, and the causal masks of GPT-2 and GPT-NeoX.
_NOT_WEIGHTS = (
    "rotary_emb.inv_freq",
    *(f".{block}.{mask}" for block in ("attn", "attention") for mask in ("bias", "masked_bias")),
)
ORIGIN = "layer_swap_search_origin"
"""Entry of an index's metadata that says what weights in our cache were made of."""
FETCHED_FROM = ".fetched_from"
"""File in a copy in our cache that says which URL it was fetched from; see `sources.url`."""


ReadHeader = Callable[[str], Iterable[tuple[str, "TensorInfo"]]]
"""File name -> tensor names, and what its header says of them."""


class TensorInfo(NamedTuple):
    """What a header says of a tensor: its file in the folder, dtype (safetensors' name), shape.

    `key` is its name there, where that is not the one that it goes by.
    """

    file: str
    dtype: str
    shape: tuple[int, ...]
    key: str = ""

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
        tensors: tensor name -> header entry, of the text decoder; with tied embeddings the head is
            left out.
        derived: where the weights come from, if not from safetensors in the folder.
        spare: head of its own in a model that says that it has none.
        notes: what of the folder is left alone.
        carried: what is no part of the text decoder, such as a vision tower.
    """

    path: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, TensorInfo]
    derived: Derived | None = None
    spare: Mapping[str, TensorInfo] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    carried: Mapping[str, TensorInfo] = field(default_factory=dict)
    _files: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> Checkpoint:
        """Read the configuration and all headers; weights stay on disk.

        Raises:
            CheckpointError: the folder, config.json, a shard or a tensor of the index is missing,
                or a file is truncated.
        """
        folder = Path(path)
        config = _config(folder)
        weights = choose(folder)
        if weights.kind != "safetensors":
            raise CheckpointError(f"{folder} {nothing_here(weights)}")
        read = functools.partial(_local_header, folder)
        return cls._of(folder, config, headers_of(str(folder), weights, read), notes=weights.notes)

    @classmethod
    def of(
        cls,
        folder: Path,
        headers: Iterable[tuple[str, TensorInfo]],
        derived: Derived | None = None,
        notes: tuple[str, ...] = (),
    ) -> Checkpoint:
        """A folder whose headers are known from elsewhere, such as the hub.

        Raises:
            CheckpointError: config.json is missing; and what `headers` raises, which comes second.
        """
        return cls._of(folder, _config(folder), headers, derived, notes)

    @classmethod
    def _of(
        cls,
        folder: Path,
        config: Mapping[str, Any],
        headers: Iterable[tuple[str, TensorInfo]],
        derived: Derived | None = None,
        notes: tuple[str, ...] = (),
    ) -> Checkpoint:
        every = {n: info for n, info in headers if not n.endswith(_NOT_WEIGHTS)}
        carried = {n: info for n, info in every.items() if is_carried(n, config)}
        tensors = {n: info for n, info in every.items() if n not in carried}
        found = cls(folder, config, tensors, derived, notes=notes, carried=carried)
        return found.with_one_head() if found.tied else found

    def with_one_head(self) -> Checkpoint:
        """The same with its head, if it has one of its own, among `spare`: it is the embeddings."""
        tensors = {n: info for n, info in self.tensors.items() if n not in HEADS}
        spare = {n: info for n, info in self.tensors.items() if n in HEADS}
        return replace(self, tensors=tensors, spare=spare, _files={})

    def whole(self) -> Checkpoint:
        """The same with what is carried along among its tensors."""
        return replace(self, tensors={**self.tensors, **self.carried}, carried={}, _files={})

    def named_as(self, base: Checkpoint) -> Checkpoint:
        """The same with its tensors called as in the base, whatever class or version saved it."""
        names = renamed(self.tensors, base.tensors)
        tensors = {
            names.get(name, name): info._replace(key=info.key or name) if name in names else info
            for name, info in self.tensors.items()
        }
        return replace(self, tensors=tensors, _files={}) if names else self

    def like(self, base: Checkpoint) -> Checkpoint:
        """The same with the base's tensors alone, and of its embeddings no more rows than there."""
        tensors = {
            name: info._replace(shape=(min(info.shape[0], rows), *info.shape[1:]))
            if (rows := base.rows_of(name)) and info.shape
            else info
            for name, info in self.named_as(base).tensors.items()
            if name in base.tensors
        }
        return replace(self, tensors=tensors, _files={})

    @property
    def text(self) -> Mapping[str, Any]:
        """What config.json says of the text decoder."""
        return text_config(self.config)

    @property
    def n_layers(self) -> int:
        """Number of transformer layers, from config.json."""
        for name in ("num_hidden_layers", "n_layer", "num_layers"):
            if type(self.text.get(name)) is int:
                n = int(self.text[name])
                if not 0 < n <= MOST_LAYERS:
                    raise CheckpointError(f"{self.path}/config.json has {name} {short(n, 40)}")
                return n
        raise CheckpointError(f"{self.path}/config.json has no num_hidden_layers")

    @property
    def tied(self) -> bool:
        """Whether the head is the embedding matrix.

        Of a config.json that is silent, as Gemma's published one, the model's class says it; of a
        class that transformers does not know, the files.
        """
        said = self.text.get("tie_word_embeddings", self.config.get("tie_word_embeddings"))
        if said is None:
            said = ties_by_default(self.text)
        return not any(h in self.tensors for h in HEADS) if said is None else bool(said)

    @property
    def parts(self) -> str:
        """What there is beside the text decoder, for people."""
        return some(sorted({name.removeprefix("model.").split(".")[0] for name in self.carried}))

    @property
    def embeddings(self) -> str | None:
        """Name of the embedding matrix; None where none is known by its name."""
        named = (n for n in self.tensors if n.endswith(_EMBEDDINGS) and layer_of(n) is None)
        return next(named, None)

    @property
    def rows(self) -> int:
        """Rows of the embedding matrix; 0 where none is known."""
        name = self.embeddings
        return self.tensors[name].shape[0] if name and self.tensors[name].shape else 0

    def rows_of(self, name: str) -> int:
        """Rows of a tensor that has one for each token: embeddings and head; else 0."""
        info = self.tensors.get(name)
        ours = name == self.embeddings or name.endswith(_BY_TOKEN)
        return self.rows if ours and info and info.shape[:1] == (self.rows,) else 0

    def untied(self) -> str | None:
        """A head of its own that differs from the embeddings of a tied model; None if none does.

        Reads both.
        """
        name = self.embeddings
        for head, info in self.spare.items():
            same = name and self.tensors[name].shape == info.shape
            if not (same and torch.equal(self._get(head, info), self.read(str(name)))):
                return head
        return None

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
        index = self.path / INDEX
        noted = read_json(index, "").get("metadata") if index.is_file() else None
        origin = noted.get(ORIGIN) if isinstance(noted, dict) else None
        return str(origin or revision_of(self.path))

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
        info = self.tensors[name]
        tensor = self._get(name, info)
        return tensor if tuple(tensor.shape) == info.shape else tensor[: info.shape[0]]

    def _get(self, name: str, info: TensorInfo) -> torch.Tensor:
        name = info.key or name
        if self.derived is not None:
            return self.derived.get(name)
        if info.file not in self._files:
            place = str(self.path / info.file)
            self._files[info.file] = safe_open(place, framework="pt", device="cpu")
        tensor: torch.Tensor = self._files[info.file].get_tensor(name)
        return tensor

    def non_finite(self) -> Iterator[str]:
        """Names of the tensors that hold NaN or infinity; reads every weight once."""
        for name in self.tensors:
            if not is_finite(self.read(name)):
                yield name


def nothing_here(weights: Weights) -> str:
    """What is said of a place that holds no safetensors of a model."""
    remedy = (
        ", or, if you trust its *.bin, set allow_bin: true in the family's YAML"
        if weights.kind == "pickled"
        else ""
    )
    left = f" ({'; '.join(weights.notes)})" if weights.notes else ""
    return (
        f"holds no *.safetensors{left}; convert it with transformers' "
        f"save_pretrained(safe_serialization=True){remedy}"
    )


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether it holds no NaN or infinity; extremes are found far faster than each is looked at."""
    if not tensor.numel() or not tensor.is_floating_point():
        return True
    low, high = tensor.aminmax()  # NaN if any is
    return bool(torch.isfinite(low) & torch.isfinite(high))


def _config(folder: Path) -> dict[str, Any]:
    return read_json(folder / "config.json", "a Hugging Face model folder holds one")


def _local_header(folder: Path, file: str) -> Iterator[tuple[str, TensorInfo]]:
    return _header(folder / file, file)


def revision_of(folder: Path) -> str:
    """Where a folder of a cache comes from, else empty.

    `org/name@commit` in the hub's (its documented layout), `URL#key` in ours.
    """
    if (folder / FETCHED_FROM).is_file():
        return read_whole(folder / FETCHED_FROM, 2**16).decode("utf-8", "backslashreplace")
    *_, model, kind, commit = ("", "", "", *folder.absolute().parts)
    known = model.startswith("models--") and kind == "snapshots"
    return f"{model.removeprefix('models--').replace('--', '/')}@{commit}" if known else ""


def headers_of(place: str, weights: Weights, read: ReadHeader) -> Iterator[tuple[str, TensorInfo]]:
    """Names, dtypes and shapes of a model's safetensors, wherever they lie.

    Args:
        place: for people.
        weights: which files.
        read: file name -> what its header says.

    Raises:
        CheckpointError: the index names what no file holds; and what `read` raises.
    """
    seen = set()
    for file in weights.files:
        for name, info in read(file):
            seen.add(name)
            yield name, info
    lost = [name for name in weights.where if name not in seen]
    if lost:
        raise CheckpointError(f"{place}: {INDEX} names tensors that no shard holds: {lost[:5]}")


def _header(file: Path, name_of_file: str) -> Iterator[tuple[str, TensorInfo]]:
    try:
        with safe_open(str(file), framework="pt") as opened:
            for name in opened.keys():
                part = opened.get_slice(name)
                yield name, TensorInfo(name_of_file, part.get_dtype(), tuple(part.get_shape()))
    except (SafetensorError, OSError) as error:
        raise unreadable(file, error, "is truncated or not safetensors") from None
