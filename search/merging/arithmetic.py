"""The arithmetic of merging: one tensor of the merged model from its namesakes in the sources.

Everything is float32 and rounded once to the checkpoint's dtype. Each element is computed alone, so
its bits do not depend on threads or chunks; the order of operations is mergekit's, and so are the
bits, but for what the methods' docstrings say. The equations are in `search.merging.methods`. Knows
nothing of files, recipes or engines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from search.merging.blocks import CHUNK, blocks, for_blocks, parts_at
from search.merging.methods.registry import arithmetic_of
from search.merging.mix import Mix

__all__ = ["CHUNK", "combine", "combine_into", "is_copy", "is_elementwise"]


def combine(mix: Mix, tensors: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    """The merged tensor.

    Args:
        mix: how it is made.
        tensors: source -> its tensor, for each of `Mix.sources`; one shape, dtype and device.
        name: the tensor's name in the checkpoint; DARE's random numbers hang on it.

    Returns:
        A tensor of the sources' dtype. A copy (one linear term with coefficient 1) is the source's
        own tensor, bit for bit and not to be written into; so is what holds no floating point
        numbers, of the first source.
    """
    first = tensors[mix.sources[0]]
    if is_copy(mix) or not first.is_floating_point():
        return first
    merged = torch.empty_like(first, memory_format=torch.contiguous_format)
    combine_into(mix, tensors, name, merged)
    return merged


def is_copy(mix: Mix) -> bool:
    """Whether the merged tensor is a source's own."""
    alone = mix.method == "linear" and len(mix.terms) == 1 and mix.terms[0].coefficient == 1.0
    return alone and not mix.rows


def is_elementwise(mix: Mix) -> bool:
    """Whether each element depends on its namesakes alone, so that a part can be merged."""
    return arithmetic_of(mix.method).elementwise and not mix.rows


def combine_into(
    mix: Mix, tensors: Mapping[str, torch.Tensor], name: str, out: torch.Tensor
) -> None:
    """`combine`, written where the merged tensor is wanted: each source is read once.

    Args:
        mix: how it is made.
        tensors: as for `combine`; where the mix is elementwise, equal parts (views) of the tensors.
        name: the tensor's name in the checkpoint.
        out: written into: of the sources' shape and device, of any strides and dtype.
    """
    sources = [tensors[source] for source in mix.merged]
    first = sources[0]
    if is_copy(mix) or not first.is_floating_point():
        out.copy_(first)
        return
    step = arithmetic_of(mix.method).merge(mix, sources, name)

    def write(place: Any) -> None:
        merged = step(parts_at(sources, place))
        if out.dtype != first.dtype:
            merged = merged.to(first.dtype)  # rounded as the checkpoint would hold it
        out[place].copy_(merged.view(out[place].shape))

    if arithmetic_of(mix.method).elementwise:
        for_blocks(write, first)
    else:  # the others count on the order
        for place in blocks(first):
            write(place)
    for row, source in mix.rows:
        out[row].copy_(tensors[source][row])
