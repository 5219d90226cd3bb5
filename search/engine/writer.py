"""Writes merged tensors straight into vLLM's parameters, on a CPU.

Where they are plain is `search.engine.layout`'s to say. Each source is read where its file is
mapped, and the merge written to its slice. The CPU build keeps linear weights in a packed copy
only: they are merged into a buffer that all modules share, then packed by vLLM's own code, or put
back where `search.engine.packed` has kept them. Knows nothing of recipes or files. For other
devices there is `search.engine.device_writer`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from search.checkpoints.checkpoint import is_finite
from search.engine.experts import ExpertTensors
from search.engine.layout import Copy, Destination
from search.engine.packed import PackedLayers
from search.engine.views import within
from search.merging.arithmetic import (
    combine,
    combine_blocks,
    combine_into,
    is_copy,
    is_elementwise,
    store,
)
from search.merging.plan import Mix

SourceTensor = tuple[str, str]
"""Source, tensor name."""


class Writer(Protocol):
    """Writes modules of one model."""

    def non_finite(
        self, places: Sequence[Destination], mixes: Mapping[str, Mix]
    ) -> list[SourceTensor]:
        """Which source tensors that the mixes are made of hold NaN or infinity.

        Of tensors that go to the places, on a device, only what goes there is looked at.
        """

    def write(self, places: Sequence[Destination], mixes: Mapping[str, Mix]) -> None:
        """Rewrite modules in place.

        Args:
            places: the modules, each once.
            mixes: tensor name -> how it is made, for all the tensors that the modules hold.
        """

    def merged(self, mix: Mix, name: str) -> torch.Tensor:
        """A merged tensor by itself, where the model is; not to be written into."""

    def finish(self) -> None:
        """Wait until all is written; errors of the device are raised here."""

    def close(self) -> None:
        """Let go of all that was made."""


class DirectWriter:
    """Writes a model on the CPU."""

    def __init__(self, experts: ExpertTensors, packed_bytes: int = 0) -> None:
        """Start without a buffer.

        Args:
            experts: what is read.
            packed_bytes: budget for packed weights of experts, which need not be packed again.
        """
        self._experts = experts
        self._packed = PackedLayers(packed_bytes)
        self._buffer = torch.empty(0, dtype=torch.uint8)
        self._finite: set[SourceTensor] = set()

    def non_finite(
        self, places: Sequence[Destination], mixes: Mapping[str, Mix]
    ) -> list[SourceTensor]:
        """Each source tensor is looked at once."""
        wanted = [(source, name) for name, mix in mixes.items() for source in mix.sources]
        new = [each for each in dict.fromkeys(wanted) if each not in self._finite]
        bad = [each for each in new if not is_finite(self._experts.mapped(*each))]
        self._finite.update(set(new).difference(bad))
        return bad

    def write(self, places: Sequence[Destination], mixes: Mapping[str, Mix]) -> None:
        """Module by module."""
        for place in places:
            self._write(place, mixes)

    def merged(self, mix: Mix, name: str) -> torch.Tensor:
        """By itself."""
        return combine(mix, self._tensors(mix, name), name)

    def finish(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Let go of the buffer and of what is packed."""
        self._packed.clear()
        self._buffer = self._buffer[:0].clone()

    def _tensors(self, mix: Mix, name: str) -> Mapping[str, torch.Tensor]:
        return {source: self._experts.mapped(source, name) for source in mix.sources}

    def _write(self, place: Destination, mixes: Mapping[str, Mix]) -> None:
        module = place.module
        empty = {name: module._parameters[name] for name in place.packed}
        targets: dict[str, torch.Tensor] = {}
        left = list(place.copies)
        for copy in place.copies:
            parameter = module._parameters[copy.parameter]
            assert parameter is not None
            targets.setdefault(copy.parameter, parameter.data)
        key = self._packed.key(place, mixes)
        if key is not None and self._packed.put_back(key):
            self._merge([copy for copy in left if copy.parameter not in empty], mixes, targets)
            return
        try:
            for name, (shape, dtype) in place.packed.items():
                whole = self._whole(place, name, mixes)
                targets[name] = self._room(shape, dtype) if whole is None else whole
                if whole is not None:
                    left = [copy for copy in left if copy.parameter != name]
            self._merge(left, mixes, targets)
            for name in place.packed:
                module._parameters[name] = torch.nn.Parameter(targets[name], requires_grad=False)
            method = getattr(module, "quant_method", None)
            if method is not None:
                method.process_weights_after_loading(module)
            if key is not None:
                self._packed.keep(key)
        finally:
            module._parameters.update(empty)

    def _merge(
        self,
        copies: Sequence[Copy],
        mixes: Mapping[str, Mix],
        targets: Mapping[str, torch.Tensor],
    ) -> None:
        """Each tensor once, into all the parameters that it goes to."""
        for name in dict.fromkeys(copy.name for copy in copies):
            tensors = self._tensors(mixes[name], name)
            _merge(mixes[name], tensors, [c for c in copies if c.name == name], targets)

    def _whole(
        self, place: Destination, parameter: str, mixes: Mapping[str, Mix]
    ) -> torch.Tensor | None:
        """What vLLM is to pack, where that is a source's own tensor."""
        copies = [copy for copy in place.copies if copy.parameter == parameter]
        mix = mixes[copies[0].name]
        if len(copies) > 1 or not is_copy(mix):
            return None
        source = copies[0].source.of(self._experts.mapped(mix.sources[0], copies[0].name))
        shape, dtype = place.packed[parameter]
        fits = source.shape == shape and source.dtype == dtype and source.is_contiguous()
        return source if fits else None

    def _room(self, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
        """The shared buffer as a tensor; whatever was in it is lost."""
        size = math.prod(shape) * dtype.itemsize
        if self._buffer.numel() < size:
            self._buffer = torch.empty(size, dtype=torch.uint8)
        return self._buffer[:size].view(dtype).view(shape)


def _merge(
    mix: Mix,
    tensors: Mapping[str, torch.Tensor],
    copies: Sequence[Copy],
    targets: Mapping[str, torch.Tensor],
) -> None:
    """One tensor into parameters; what is not elementwise, once for all the slices it goes to."""
    first = tensors[mix.sources[0]]
    if is_copy(mix) or is_elementwise(mix) or not first.is_floating_point():
        for copy in copies:
            slices = {source: copy.source.of(tensor) for source, tensor in tensors.items()}
            combine_into(mix, slices, copy.name, copy.target.of(targets[copy.parameter]))
        return

    def write(start: int, _: Any, merged: torch.Tensor) -> None:
        for copy in copies:
            for part, place in within((copy.source, copy.target), start, start + merged.numel()):
                here = part._replace(offset=part.offset - start).of(merged)
                store(here, first.dtype, place.of(targets[copy.parameter]))

    combine_blocks(mix, tensors, copies[0].name, write)
