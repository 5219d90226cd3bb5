"""Writes merged tensors straight into vLLM's parameters.

Where they are plain is `search.engine.layout`'s to say. Each source is read once and the merge
written once, to its slice. The CPU build keeps linear
weights in a packed copy only: they are merged into a buffer that all modules share, then packed by
vLLM's own code. Knows nothing of recipes or files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from search.engine.experts import ExpertTensors
from search.engine.layout import Copy, Destination
from search.merging.arithmetic import combine, combine_into, is_copy, is_elementwise
from search.merging.plan import Mix, Term

Part = tuple[Mix, Mapping[str, torch.Tensor]]
"""An elementwise mix, and source -> tensor; not to be written into."""

WHOLE = Mix("linear", (Term("merged", 1.0),))
"""What has been merged already."""


class DirectWriter:
    """Writes modules of one model."""

    def __init__(self) -> None:
        """Start without a buffer."""
        self._buffer = torch.empty(0, dtype=torch.uint8)

    def write(
        self, places: Sequence[Destination], mixes: Mapping[str, Mix], experts: ExpertTensors
    ) -> None:
        """Rewrite modules in place.

        Args:
            places: the modules, each once.
            mixes: tensor name -> how it is made, for all the tensors that the modules hold.
            experts: the sources, on the model's device.
        """
        wanted = [(name, mixes[name].sources) for place in places for name in place.names]
        arriving = experts.read_all(wanted)
        for place in places:
            self._write(place, {n: _part(mixes[n], next(arriving), n) for n in place.names})

    def _write(self, place: Destination, parts: Mapping[str, Part]) -> None:
        module = place.module
        empty = {name: module._parameters[name] for name in place.packed}
        try:
            for name in place.packed:
                weight = self._packed(place, name, parts)
                module._parameters[name] = torch.nn.Parameter(weight, requires_grad=False)
            for copy in place.copies:
                if copy.parameter not in place.packed:
                    parameter = module._parameters[copy.parameter]
                    assert parameter is not None
                    _merge(copy, parts[copy.name], parameter.data)
            method = getattr(module, "quant_method", None)
            if method is not None and all(p.device.type == "cpu" for p in module.parameters()):
                method.process_weights_after_loading(module)
        finally:
            module._parameters.update(empty)

    def _packed(
        self, place: Destination, parameter: str, parts: Mapping[str, Part]
    ) -> torch.Tensor:
        """What vLLM is to pack: a source's own tensor where that is the whole, else the merge."""
        copies = [copy for copy in place.copies if copy.parameter == parameter]
        shape, dtype = place.packed[parameter]
        first = copies[0]
        mix, tensors = parts[first.name]
        if len(copies) == 1 and is_copy(mix):
            source = first.source.of(tensors[mix.sources[0]])
            if source.shape == shape and source.dtype == dtype and source.is_contiguous():
                return source
        weight = self._room(shape, dtype)
        for copy in copies:
            _merge(copy, parts[copy.name], weight)
        return weight

    def _room(self, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
        """The shared buffer as a tensor; whatever was in it is lost."""
        size = math.prod(shape) * dtype.itemsize
        if self._buffer.numel() < size:
            self._buffer = torch.empty(size, dtype=torch.uint8)
        return self._buffer[:size].view(dtype).view(shape)


def _part(mix: Mix, tensors: Mapping[str, torch.Tensor], name: str) -> Part:
    """What is not elementwise is merged as a whole, once for all the slices that it goes to."""
    return (
        (mix, tensors) if is_elementwise(mix) else (WHOLE, {"merged": combine(mix, tensors, name)})
    )


def _merge(copy: Copy, part: Part, parameter: torch.Tensor) -> None:
    """One tensor's slice of a parameter."""
    mix, tensors = part
    slices = {source: copy.source.of(tensor) for source, tensor in tensors.items()}
    combine_into(mix, slices, copy.name, copy.target.of(parameter))
