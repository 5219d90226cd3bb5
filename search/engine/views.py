"""Parts of tensors, as plain numbers: views, and how copies between them are cut.

Knows nothing of vLLM, files or devices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch


class ParameterView(NamedTuple):
    """Part of a tensor: size, strides and offset in elements, as in `torch.as_strided`."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """This part of a contiguous tensor."""
        return tensor.as_strided(self.size, self.stride, int(tensor.storage_offset()) + self.offset)

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.size)

    @property
    def plain(self) -> ParameterView:
        """Where the same elements are once they lie one after the other."""
        return contiguous(self.size)

    @property
    def is_plain(self) -> bool:
        """Whether they do already."""
        return all(
            size == 1 or mine == theirs
            for size, mine, theirs in zip(self.size, self.stride, self.plain.stride, strict=True)
        )

    def narrowed(self, dim: int, start: int, length: int) -> ParameterView:
        """The part from `start` on along a dimension."""
        size = (*self.size[:dim], length, *self.size[dim + 1 :])
        return ParameterView(size, self.stride, self.offset + start * self.stride[dim])


Views = tuple[ParameterView, ...]
"""The same elements in several tensors: of one size."""


def contiguous(size: Sequence[int], offset: int = 0) -> ParameterView:
    """Elements that lie one after the other, the last dimension's closest."""
    stride = [math.prod(size[dim + 1 :]) for dim in range(len(size))]
    return ParameterView(tuple(size), tuple(stride), offset)


def cut(views: Views, limit: int) -> Iterator[Views]:
    """Pieces of at most `limit` elements that cover the views once, in the first one's order."""
    first = views[0]
    if first.numel <= limit:
        if first.numel:
            yield views
        return
    dim = _outermost(first)
    inner = first.numel // first.size[dim]
    length = max(1, limit // inner)
    for start in range(0, first.size[dim], length):
        here = min(length, first.size[dim] - start)
        yield from cut(tuple(view.narrowed(dim, start, here) for view in views), limit)


def within(views: Views, start: int, end: int) -> Iterator[Views]:
    """Parts of the views whose elements the first one has at places from `start` to `end`.

    The first one's elements are all at different places.
    """
    first = views[0]
    if not first.numel:
        return
    extent = sum((n - 1) * s for n, s in zip(first.size, first.stride, strict=True)) + 1
    low = first.offset
    if low >= end or low + extent <= start:
        return
    if low >= start and low + extent <= end:
        yield views
        return
    dim = _outermost(first)
    stride, count = first.stride[dim], first.size[dim]
    inner = extent - (count - 1) * stride
    begin = min(count, max(0, -((low - start) // stride)))  # the first that is wholly inside
    stop = max(begin, min(count, (end - inner - low) // stride + 1))
    for at, length in ((begin - 1, 1), (begin, stop - begin), (stop, 1)):
        if length and 0 <= at < count:
            part = tuple(view.narrowed(dim, at, length) for view in views)
            if length == count:
                yield part
            else:
                yield from within(part, start, end)


def _outermost(view: ParameterView) -> int:
    """The dimension along which neighbours are farthest apart."""
    dims = [dim for dim, size in enumerate(view.size) if size > 1]
    return max(dims, key=lambda dim: view.stride[dim], default=0)
