"""The arithmetic of merging: one tensor of the merged model from its namesakes in the sources.

Everything is float32 and rounded once to the checkpoint's dtype. Each element is computed alone, so
its bits do not depend on threads or chunks; the order of operations is mergekit's, and so are the
bits, but for what the methods' docstrings say. The equations are in `search.merging.methods`. Knows
nothing of files, recipes or engines.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from search.merging.blocks import (
    CHUNK,
    EVERY,
    ChunkMerge,
    MissedError,
    Survey,
    for_blocks,
    parts_at,
)
from search.merging.methods.registry import arithmetic_of
from search.merging.mix import Mix

__all__ = [
    "CHUNK",
    "Merge",
    "combine",
    "combine_blocks",
    "combine_into",
    "is_copy",
    "is_elementwise",
    "store",
]


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
    """`combine`, written where the merged tensor is wanted: block by block.

    Args:
        mix: how it is made.
        tensors: as for `combine`; where the mix is elementwise, equal parts (views) of the tensors.
        name: the tensor's name in the checkpoint.
        out: written into: of the sources' shape and device, of any strides and dtype.
    """
    first = tensors[mix.sources[0]]
    if is_copy(mix) or not first.is_floating_point():
        out.copy_(first)
        return

    def write(start: int, place: Any, merged: torch.Tensor) -> None:
        store(merged.view(out[place].shape), first.dtype, out[place])

    combine_blocks(mix, tensors, name, write)


def combine_blocks(
    mix: Mix,
    tensors: Mapping[str, torch.Tensor],
    name: str,
    write: Callable[[int, Any, torch.Tensor], object],
) -> None:
    """`combine` for who needs no whole: each merged block is handed over, by several threads.

    Args:
        mix: how it is made; no copy.
        tensors: as for `combine_into`, of floating point numbers.
        name: the tensor's name in the checkpoint.
        write: takes the place of the block's first element, the block's index, and the block
            itself: float32, flat.
    """
    sources = [tensors[source] for source in mix.sources]
    if not sources[0].numel():
        return
    width = sources[0].numel() // len(sources[0]) if sources[0].dim() else 1
    here = sources[0].device.type == "cpu"
    try:
        step = _surveyed(Merge(mix, name, width, sampled=here), sources)
    except MissedError:
        step = _surveyed(Merge(mix, name, width), sources)

    def work(start: int, place: Any) -> None:
        write(start, place, step(parts_at(sources, place), start))

    deque(for_blocks(work, sources[0]), maxlen=0)


def _surveyed(merge: Merge, sources: Sequence[torch.Tensor]) -> ChunkMerge:
    """What merges the chunks, when all surveys have been made."""
    for _ in range(merge.surveys):
        every, look = merge.every, merge.survey()
        for part in for_blocks(lambda _, place: look(parts_at(sources, place)), sources[0], every):  # noqa: B023
            merge.add(part)
    return merge.step()


def store(merged: torch.Tensor, dtype: torch.dtype, target: torch.Tensor) -> None:
    """Write a merged part where it goes, rounded as the checkpoint would hold it.

    Args:
        merged: float32.
        dtype: the checkpoint's.
        target: written into: of the same shape, of any dtype.
    """
    target.copy_(merged if target.dtype == dtype else merged.to(dtype))


class Merge:
    """One tensor's merge, chunk by chunk, for whoever brings the chunks.

    For each of its surveys in turn, what `survey` says of every chunk is added; then `step` merges
    every chunk. Chunks are equal flat parts of the sources, float32; they come in memory order, or
    in any where the mix is elementwise.
    """

    def __init__(self, mix: Mix, name: str, width: int, *, sampled: bool = False) -> None:
        """Take the mix, which is no copy, the tensor's name, the elements of each of its rows.

        Sampled surveys take less time on a CPU; with them, `step` may raise `MissedError`.
        """
        self._mix, self._name, self._width = mix, name, width
        self._arithmetic = arithmetic_of(mix.method)
        quicker = self._arithmetic.sampled if sampled else None
        self._sampled = quicker is not None
        self._surveys = (quicker or self._arithmetic.surveys)(mix)
        self._sums: list[Any] = []
        self._begun = False

    @property
    def surveys(self) -> int:
        """How many times the whole tensor is looked at before it is merged."""
        return len(self._surveys)

    @property
    def every(self) -> int:
        """Of how many chunks the next survey looks at one."""
        return EVERY if self._sampled and not self._sums else 1

    def survey(self) -> Survey:
        """What the next survey adds up; the one before is complete."""
        self._begun = False
        survey, n = self._surveys[len(self._sums)](self._sums), len(self._mix.merged)
        return lambda parts: survey(parts[:n])

    def add(self, part: Any) -> None:
        """One chunk's part of the survey at hand."""
        if self._begun:
            self._sums[-1].add_(part)
        else:
            self._sums.append(part)
            self._begun = True

    def step(self) -> ChunkMerge:
        """What merges the chunks, when all surveys are complete; one for the whole tensor."""
        step = self._arithmetic.merge(self._mix, self._name, self._sums)
        return self._with_rows(step) if self._mix.rows else step

    def _with_rows(self, step: ChunkMerge) -> ChunkMerge:
        """What merges the chunks, and then puts in the rows that are a source's own."""
        mix, width = self._mix, self._width
        places = {source: place for place, source in enumerate(mix.sources)}

        def whole(parts: list[torch.Tensor], start: int) -> torch.Tensor:
            found = step(parts[: len(mix.merged)], start)
            for row, source in mix.rows:
                own = slice(max(row * width - start, 0), max((row + 1) * width - start, 0))
                found[own] = parts[places[source]][own]
            return found

        return whole
