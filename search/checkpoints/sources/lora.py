"""A LoRA adapter (PEFT's folder) as an expert of its base: the weights that merging it gives.

W' = W + alpha / r * B A (Hu et al. 2021, arXiv 2106.09685, section 4.1), with alpha / sqrt(r) for
rank-stabilised LoRA (Kalajdzievski 2023, arXiv 2312.03732); in float32, rounded once to the base's
dtype. Weights that the adapter holds whole (modules_to_save, biases) replace the base's. What
cannot be merged so is refused. Knows nothing of where the result is kept
(`search.checkpoints.cache`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from search.checkpoints.cache import digest, identity
from search.checkpoints.checkpoint import Checkpoint, read_json, revision_of
from search.errors import CheckpointError, ExpertMismatchError

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_REMEDY = (
    "merge it with PEFT's merge_and_unload() and give the folder that save_pretrained() writes"
)
# Entries of adapter_config.json that are used here, or that do not change what a merge gives.
_KNOWN = {
    *("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "fan_in_fan_out"),
    *("init_lora_weights", "peft_type", "peft_version", "task_type", "auto_mapping", "revision"),
    *("base_model_name_or_path", "inference_mode", "target_modules", "exclude_modules", "bias"),
    *("layers_to_transform", "layers_pattern", "modules_to_save", "lora_dropout", "eva_config"),
    *("megatron_core", "qalora_group_size", "runtime_config", "ensure_weight_tying"),
}
_INITS = (True, False, "gaussian", "eva", "orthogonal")  # the others change the base's weights too
_PART = re.compile(r"base_model\.model\.(.+)\.lora_(embedding_)?([AB])(?:\.weight)?")


class Delta(NamedTuple):
    """What is added to one tensor: `scale` x B A, transposed where the base stores it so."""

    a: str
    b: str
    scale: float
    transposed: bool


def is_adapter(folder: Path) -> bool:
    """Whether a folder is a LoRA adapter and not a whole model."""
    whole = (folder / "model.safetensors", folder / "model.safetensors.index.json")
    return (folder / _CONFIG).is_file() and not any(file.is_file() for file in whole)


def adapter_files(folder: Path) -> tuple[Path, ...]:
    """The files that make an adapter what it is."""
    return folder / _CONFIG, folder / _WEIGHTS


def open_adapter(folder: Path, base: Checkpoint | None) -> Checkpoint:
    """The expert that an adapter makes of its base; headers only, nothing is merged yet.

    Raises:
        CheckpointError: the files cannot be read, or the adapter is of a kind that is not a plain
            sum; every reason is named.
        ExpertMismatchError: it was made for another base.
    """
    if base is None:
        raise CheckpointError(f"{folder} is a LoRA adapter, and there is no base to merge it into")
    adapter = Adapter(folder, base)
    return Checkpoint(folder, base.config, base.tensors, adapter)


class Adapter:
    """`search.checkpoints.checkpoint.Derived` of an adapter and its base."""

    kind = "LoRA"

    def __init__(self, folder: Path, base: Checkpoint) -> None:
        """Read the headers; see `open_adapter` for what is raised."""
        self.files, self._folder, self._base = base.path, folder, base
        self.config = read_json(folder / _CONFIG, "a PEFT adapter folder holds one")
        _refuse_variants(folder, self.config)
        self._tensors = _open(folder / _WEIGHTS)
        shapes = {k: tuple(self._tensors.get_slice(k).get_shape()) for k in self._tensors.keys()}
        self.deltas, self.whole = _match(folder, self.config, shapes, base)
        own = revision_of(folder) or folder.name
        self.origin = f"LoRA {own} merged into {base.revision or base.label}"

    def get(self, name: str) -> torch.Tensor:
        """The merged tensor, in the base's dtype."""
        weight = self._base.read(name)
        dtype = weight.dtype
        if name in self.whole:
            weight = self._tensors.get_tensor(self.whole[name])
        if name in self.deltas:
            delta = self.deltas[name]
            a, b = (self._tensors.get_tensor(key).float() for key in (delta.a, delta.b))
            product = (b @ a).mul_(delta.scale)
            weight = (product.T if delta.transposed else product).add_(weight)
        return weight.to(dtype)

    def key(self) -> str:
        """Hash of the adapter's bytes and of which base it is merged into."""
        base = {self._base.path / info.file for info in self._base.tensors.values()}
        return digest(self._folder / _CONFIG, self._folder / _WEIGHTS, identity(base))


def _open(file: Path) -> Any:
    try:
        return safe_open(str(file), framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is missing or truncated: {error}") from None


def _refuse_variants(folder: Path, config: Mapping[str, Any]) -> None:
    faults = [f"{k} = {v!r}" for k, v in sorted(config.items()) if v and k not in _KNOWN]
    if config.get("peft_type") != "LORA":
        faults.insert(0, f"peft_type = {config.get('peft_type')!r}")
    if config.get("init_lora_weights", True) not in _INITS:
        faults.append(
            f"init_lora_weights = {config['init_lora_weights']!r}, which changes the base"
        )
    if faults:
        raise CheckpointError(
            f"{folder / _CONFIG} has {'; '.join(faults)}: that is more than base + scale x B A; "
            + _REMEDY
        )


def _match(
    folder: Path,
    config: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    base: Checkpoint,
) -> tuple[dict[str, Delta], dict[str, str]]:
    """Which base tensor each of the adapter's tensors belongs to, by name and shape."""
    parts: dict[tuple[str, bool], dict[str, str]] = {}
    whole: dict[str, str] = {}
    faults: list[str] = []
    for key, shape in shapes.items():
        if found := _PART.fullmatch(key):
            parts.setdefault((found[1], bool(found[2])), {})[found[3]] = key
            continue
        name = key.removeprefix("base_model.model.").replace(".base_layer.", ".")
        faults += _differs(name, shape, base)
        whole[name] = key
    deltas = {}
    for (module, embedding), keys in parts.items():
        a, b = shapes.get(keys.get("A", ""), ()), shapes.get(keys.get("B", ""), ())
        if len(a) != 2 or len(b) != 2 or a[0] != b[1]:
            faults.append(f"{module}: A {_show(a)} and B {_show(b)} are no pair of LoRA matrices")
            continue
        name = f"{module}.weight"
        transposed = embedding or bool(config.get("fan_in_fan_out"))
        faults += _differs(name, (a[1], b[0]) if transposed else (b[0], a[1]), base)
        deltas[name] = Delta(keys["A"], keys["B"], _scale(config, module, a[0]), transposed)
    if not deltas and not whole:
        faults.append("it holds no LoRA matrices")
    if faults:
        made_for = config.get("base_model_name_or_path") or "a base that it does not name"
        faults = list(dict.fromkeys(faults))
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise ExpertMismatchError(
            f"is a LoRA adapter that does not fit this base (it was made for {made_for}): "
            + "; ".join(faults[:3])
            + more
        )
    return deltas, whole


def _differs(name: str, shape: tuple[int, ...], base: Checkpoint) -> list[str]:
    info = base.tensors.get(name)
    if info is None:
        tied = base.tied and name == "lm_head.weight"
        return [f"{name} is tied to the embeddings in the base" if tied else f"no {name} there"]
    if info.shape != shape:
        return [f"{name} {_show(shape)} (base: {_show(info.shape)})"]
    return []


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    """PEFT's scaling of a module: its alpha is the first of `alpha_pattern` that fits its name."""
    alpha = config.get("lora_alpha", 8)
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            alpha = value
            break
    return float(alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank)


def _show(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "missing"
