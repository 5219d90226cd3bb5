"""Writes merged tensors straight into vLLM's parameters, on another device than the CPU.

The sources are brought piece by piece (`search.engine.staging`), so that a rewrite needs the same
memory beside the model whatever is merged. Knows nothing of recipes or files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from search.engine.layout import Destination
from search.engine.pieces import Wanted, check_pieces, merge_pieces
from search.engine.staging import Piece, Staging
from search.engine.views import contiguous
from search.engine.writer import SourceTensor
from search.merging.arithmetic import is_copy, is_elementwise
from search.merging.plan import Mix


class DeviceWriter:
    """Writes a model on another device, in pieces of bounded size."""

    def __init__(
        self, staging: Staging, tensors: Mapping[str, tuple[Sequence[int], torch.dtype]]
    ) -> None:
        """Take what brings the sources.

        Args:
            staging: to the model's device.
            tensors: checkpoint tensor name -> shape, dtype.
        """
        self._staging, self._tensors = staging, tensors
        self._finite: set[tuple[str, str, bool]] = set()

    def non_finite(
        self, places: Sequence[Destination], mixes: Mapping[str, Mix]
    ) -> list[SourceTensor]:
        """Each source tensor is looked at once, on the device.

        Where at first a slice of it was used and then all of it is, once more.
        """
        wanted, new = self._wanted(places, mixes), []
        for name, mix in mixes.items():
            whole = name not in wanted or not (is_copy(mix) or is_elementwise(mix))
            for source in mix.sources:
                known = {(source, name, True), (source, name, whole)} & self._finite
                if not known and self._tensors[name][1].is_floating_point:
                    new.append((source, name, whole))
        finite = torch.ones(len(new), dtype=torch.bool, device=self._staging.device)

        def pieces() -> Iterator[Piece]:
            for (source, name, whole), flag in zip(new, finite, strict=True):
                tensor = wanted.get(name) or self._want(name, [])
                yield from check_pieces(source, tensor, whole, flag, self._staging.sizes)

        self._staging.run(pieces(), {source for source, _, _ in new})
        found = finite.tolist()
        self._finite.update(each for each, fine in zip(new, found, strict=True) if fine)
        return [each[:2] for each, fine in zip(new, found, strict=True) if not fine]

    def write(self, places: Sequence[Destination], mixes: Mapping[str, Mix]) -> None:
        """Tensor by tensor."""
        wanted = self._wanted(places, mixes)
        self._run([(mixes[name], tensor) for name, tensor in wanted.items()])

    def merged(self, mix: Mix, name: str) -> torch.Tensor:
        """By itself."""
        shape, dtype = self._tensors[name]
        out = torch.empty(tuple(shape), dtype=dtype, device=self._staging.device)
        whole = contiguous((out.numel(),))
        self._run([(mix, self._want(name, [(whole, whole, out)]))])
        return out

    def finish(self) -> None:
        """Wait for the device."""
        self._staging.finish()

    def close(self) -> None:
        """Let go of rings and tiers."""
        self._staging.close()

    def _want(self, name: str, copies: list[Any]) -> Wanted:
        shape, dtype = self._tensors[name]
        return Wanted(name, math.prod(shape), math.prod(shape[1:]), dtype, copies)

    def _wanted(self, places: Sequence[Destination], mixes: Mapping[str, Mix]) -> dict[str, Wanted]:
        copies: dict[str, list[Any]] = {}
        for place in places:
            for copy in place.copies:
                parameter = place.module._parameters[copy.parameter]
                assert parameter is not None
                goal = copy.source, copy.target, parameter.data
                copies.setdefault(copy.name, []).append(goal)
        return {name: self._want(name, copies[name]) for name in mixes if name in copies}

    def _run(self, merges: Sequence[tuple[Mix, Wanted]]) -> None:
        sizes = self._staging.sizes
        self._staging.run(
            (piece for mix, wanted in merges for piece in merge_pieces(mix, wanted, sizes)),
            {source for mix, _ in merges for source in mix.sources},
        )
