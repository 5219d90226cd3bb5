"""What a rewrite on a device is made of: pieces of tensors, with what becomes of each.

Owns how a tensor's merge is cut: parts of the slices that this rank holds where each element is
merged alone; else blocks of the whole tensor, once for each survey, then once to be written. Knows
nothing of files or of vLLM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import torch

from search.engine.average import average_into
from search.engine.experts import Read
from search.engine.staging import Piece, Sizes
from search.engine.views import ParameterView, contiguous, cut, within
from search.merging.arithmetic import Merge, is_copy, is_elementwise, store
from search.merging.blocks import ChunkMerge, Survey, parts_at
from search.merging.mix import Mix


@dataclass(frozen=True)
class Wanted:
    """A tensor that is to be written.

    Attributes:
        name: in the checkpoint.
        numel: elements of the whole.
        width: elements of each of its rows.
        dtype: the checkpoint's.
        copies: part of the tensor, part of a parameter that it goes to, the parameter; the parts
            are of one size.
    """

    name: str
    numel: int
    width: int
    dtype: torch.dtype
    copies: Sequence[tuple[ParameterView, ParameterView, torch.Tensor]]

    @property
    def slices(self) -> Mapping[ParameterView, list[tuple[ParameterView, torch.Tensor]]]:
        """The parts, each once, and where they go."""
        found: dict[ParameterView, list[tuple[ParameterView, torch.Tensor]]] = {}
        for source, target, parameter in self.copies:
            found.setdefault(source, []).append((target, parameter))
        return found


def check_pieces(
    source: str, wanted: Wanted, whole: bool, finite: torch.Tensor, sizes: Sizes
) -> Iterator[Piece]:
    """One source's tensor, looked at for NaN and infinity.

    Args:
        source: the checkpoint.
        wanted: the tensor.
        whole: look at all of it; else at the slices that go to this rank's parameters.
        finite: shape (), bool: made False where something is found.
        sizes: of the buffers.
    """

    def look(parts: list[torch.Tensor]) -> None:
        low, high = parts[0].aminmax()  # NaN if any is
        finite.logical_and_(low.isfinite()).logical_and_(high.isfinite())

    limit = sizes.elements(1, wanted.dtype.itemsize)
    for view in [contiguous((wanted.numel,))] if whole else wanted.slices:
        for part, place in cut((view, view.plain), limit):
            yield Piece(_reads((source,), wanted, view, part, place), look)


def merge_pieces(mix: Mix, wanted: Wanted, sizes: Sizes) -> Iterator[Piece]:
    """The merge of one tensor into this rank's parameters."""
    if is_copy(mix) or not wanted.dtype.is_floating_point:
        limit = sizes.elements(1, wanted.dtype.itemsize)
        return _copied(mix.sources[0], wanted, limit)
    limit = sizes.elements(len(mix.sources), wanted.dtype.itemsize)
    return (_elementwise if is_elementwise(mix) else _blockwise)(mix, wanted, limit)


def _reads(
    sources: Sequence[str],
    wanted: Wanted,
    view: ParameterView,
    part: ParameterView,
    place: ParameterView,
) -> tuple[Read, ...]:
    """`part` of a slice `view`, at `place` in it. Whoever reads the whole shares what is held."""
    whole = view.is_plain and view.numel == wanted.numel
    held = contiguous((wanted.numel,)) if whole else view
    return tuple(Read(source, wanted.name, part, held, place) for source in sources)


def _sliced(
    sources: Sequence[str], wanted: Wanted, limit: int
) -> Iterator[tuple[tuple[Read, ...], list[torch.Tensor]]]:
    """Parts of this rank's slices, and where each goes."""
    for view, goals in wanted.slices.items():
        for part, place, *targets in cut((view, view.plain, *(t for t, _ in goals)), limit):
            parameters = (parameter for _, parameter in goals)
            there = [t.of(p) for t, p in zip(targets, parameters, strict=True)]
            yield _reads(sources, wanted, view, part, place), there


def _copied(source: str, wanted: Wanted, limit: int) -> Iterator[Piece]:
    def use(targets: list[torch.Tensor], parts: list[torch.Tensor]) -> None:
        for target in targets:
            target.copy_(parts[0].view(target.shape))

    for parts, targets in _sliced((source,), wanted, limit):
        first = targets[0]
        alone = len(targets) == 1 and first.is_contiguous() and first.dtype == wanted.dtype
        yield Piece(parts, partial(use, targets), first if alone else None)


def _elementwise(mix: Mix, wanted: Wanted, limit: int) -> Iterator[Piece]:
    step = Merge(mix, wanted.name, wanted.width).step()
    shares = [term.coefficient for term in mix.terms] if mix.method == "linear" else []

    def use(targets: list[torch.Tensor], parts: list[torch.Tensor]) -> None:
        if shares:
            targets = [each for each in targets if not average_into(parts, shares, each)]
        if not targets:
            return
        merged = step(parts_at(parts, ...), 0)
        for target in targets:
            store(merged.view(target.shape), wanted.dtype, target)

    for parts, targets in _sliced(mix.sources, wanted, limit):
        yield Piece(parts, partial(use, targets))


def _blockwise(mix: Mix, wanted: Wanted, limit: int) -> Iterator[Piece]:
    whole, merge = contiguous((wanted.numel,)), Merge(mix, wanted.name, wanted.width)
    starts = range(0, wanted.numel, limit)

    def block(start: int) -> tuple[Read, ...]:
        part = contiguous((min(limit, wanted.numel - start),), start)
        return _reads(mix.sources, wanted, whole, part, part)

    for _ in range(merge.surveys):
        survey = cache(merge.survey)  # begun when the one before is complete
        for start in starts:
            yield Piece(block(start), partial(_survey, merge, survey))
    step = cache(merge.step)
    for start in starts:
        yield Piece(block(start), partial(_write, wanted, step, start))


def _survey(merge: Merge, survey: Callable[[], Survey], parts: list[torch.Tensor]) -> None:
    add = survey()  # before the first sum is added to
    merge.add(add(parts_at(parts, ...)))


def _write(
    wanted: Wanted, step: Callable[[], ChunkMerge], start: int, parts: list[torch.Tensor]
) -> None:
    merged = step()(parts_at(parts, ...), start)
    for source, target, parameter in wanted.copies:
        for part, place in within((source, target), start, start + merged.numel()):
            here = part._replace(offset=part.offset - start)
            store(here.of(merged), wanted.dtype, place.of(parameter))
