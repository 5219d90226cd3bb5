"""Where vLLM keeps each checkpoint tensor, so that a merge can be written there directly.

Owns the knowledge of vLLM's loaders and layers: its own `load_weights` runs once on tensors without
data, and what it would copy where is noted, so that fused parameters (q k v, gate up) and shards of
tensor parallelism come out as slices. Only plain layouts are taken: embeddings, norms and
unquantised linear layers, each element a copy of a checkpoint's. All other tensors go through
vLLM's reload, which this is tested against.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from search.engine.views import ParameterView

logger = logging.getLogger(__name__)

_METHODS = ("NoneType", "UnquantizedLinearMethod", "UnquantizedEmbeddingMethod")
# Modules with a method of this name derive something from loaded weights. These derive nothing from
# weights that are rewritten; DeepSeek's latent attention does, so models that have it are left out.
_DERIVES = "process_weights_after_loading"
_HARMLESS = ("Attention", "EncoderOnlyAttention")
_ABSENT: Any = object()


class Copy(NamedTuple):
    """One copy that loading makes: part of a checkpoint tensor to part of a parameter."""

    name: str
    source: ParameterView
    parameter: str
    target: ParameterView


@dataclass(frozen=True, eq=False)
class Destination:
    """A module of vLLM's model that can be written directly.

    Attributes:
        module: the module.
        copies: what its parameters are made of.
        packed: parameter of which vLLM keeps no plain copy -> its shape and dtype when loaded.
    """

    module: torch.nn.Module
    copies: Sequence[Copy]
    packed: Mapping[str, tuple[torch.Size, torch.dtype]]

    @property
    def names(self) -> tuple[str, ...]:
        """The checkpoint tensors that the module holds."""
        return tuple(dict.fromkeys(copy.name for copy in self.copies))


def places(
    model: Any, tensors: Mapping[str, tuple[Sequence[int], torch.dtype]]
) -> dict[str, tuple[Destination, ...]]:
    """Where checkpoint tensors can be written directly.

    Args:
        model: vLLM's model, loaded.
        tensors: checkpoint tensor name -> shape, dtype.

    Returns:
        Tensor name -> the modules that hold it. Tensors that need vLLM's reload are left out; all
        are where this version of vLLM keeps weights in another way than is known here.
    """
    modules = list(model.modules())
    if any(hasattr(m, _DERIVES) and type(m).__name__ not in _HARMLESS for m in modules):
        return {}
    try:
        with _as_loaded(modules) as parameters:
            copies = _trace(model, tensors, parameters)
    except Exception as error:  # vLLM's internals may raise anything; the reload remains
        logger.warning("weights are rewritten by vLLM's reload only: %r", error)
        return {}
    by_module: dict[torch.nn.Module, list[Copy]] = defaultdict(list)
    refused: set[str] = set()
    for module, copy in copies:
        if module is None:
            refused.add(copy.name)
        else:
            by_module[module].append(copy)
    found: dict[torch.nn.Module, Destination] = {}
    for module, own in by_module.items():
        place = _place(module, own, parameters)
        if place is None:
            refused |= {copy.name for copy in own}
        else:
            found[module] = place
    while True:  # a tensor is written in one way, and so is a module
        mixed = [module for module, place in found.items() if refused.intersection(place.names)]
        if not mixed:
            break
        for module in mixed:
            refused.update(found.pop(module).names)
    result: dict[str, tuple[Destination, ...]] = {}
    for place in found.values():
        for name in place.names:
            result[name] = (*result.get(name, ()), place)
    return result


Parameters = Mapping[int, tuple[torch.nn.Module, str, torch.Tensor]]
"""Storage -> module, parameter name, the parameter as it is while vLLM loads it."""


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


@contextmanager
def _as_loaded(modules: Sequence[torch.nn.Module]) -> Iterator[Parameters]:
    """Give the model the parameters that it loads into, without data; vLLM notes them for reloads.

    A bias is not among what it notes and stays as it is.
    """
    from vllm.model_executor.model_loader.reload.layerwise import get_layerwise_info
    from vllm.model_executor.model_loader.reload.sanitize import restore_layer_refs

    kept = []
    for module in modules:
        for name, meta in get_layerwise_info(module).restore_metadata[0].items():
            kept.append((module, name, module._parameters.pop(name, _ABSENT)))
            module._parameters[name] = restore_layer_refs(meta, module)
    try:
        yield {
            _storage(parameter): (module, name, parameter)
            for module in modules
            for name, parameter in module._parameters.items()
            if parameter is not None
        }
    finally:
        for module, name, parameter in reversed(kept):
            del module._parameters[name]
            if parameter is not _ABSENT:
                module._parameters[name] = parameter


class _Copies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes copies instead of making them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.made: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.copy_.default:
            self.made.append((args[0], args[1]))
            return args[0]
        return func(*args, **(kwargs or {}))


def _trace(
    model: Any,
    tensors: Mapping[str, tuple[Sequence[int], torch.dtype]],
    parameters: Parameters,
) -> list[tuple[torch.nn.Module | None, Copy]]:
    """Every copy with its module; None where something else than a parameter is written.

    The name is empty where something else than a checkpoint's tensor is copied.
    """
    given = {n: torch.empty(shape, dtype=d, device="meta") for n, (shape, d) in tensors.items()}
    names = {_storage(tensor): name for name, tensor in given.items()}
    with _Copies() as copies:
        model.load_weights(iter(given.items()))
    result = []
    for target, source in copies.made:
        module, parameter, _ = parameters.get(_storage(target), (None, "", None))
        name = names.get(_storage(source), "")
        result.append((module, Copy(name, _view(source), parameter, _view(target))))
    return result


def _view(tensor: torch.Tensor) -> ParameterView:
    return ParameterView(tuple(tensor.size()), tensor.stride(), int(tensor.storage_offset()))


def _place(
    module: torch.nn.Module, copies: list[Copy], parameters: Parameters
) -> Destination | None:
    """The module as a place to write, None if it is not plain."""
    method = type(getattr(module, "quant_method", None)).__name__
    if method not in _METHODS or any(c.source.size != c.target.size or not c.name for c in copies):
        return None
    packed = {}
    for owner, name, loaded in parameters.values():
        live = module._parameters.get(name)
        if owner is not module or live is None:
            continue
        if (live.shape, live.stride(), live.dtype) == (loaded.shape, loaded.stride(), loaded.dtype):
            continue
        filled = sum(copy.target.numel for copy in copies if copy.parameter == name)
        if live.numel() or method != "UnquantizedLinearMethod" or filled != loaded.numel():
            return None
        packed[name] = loaded.shape, loaded.dtype
    return Destination(module, copies, packed)
