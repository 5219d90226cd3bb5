"""Copies between parts of tensors are cut without losing or doubling an element."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search.engine.views import ParameterView, contiguous, cut, within


@pytest.mark.parametrize(
    ("part", "numbers"),
    [
        (ParameterView((2, 3), (3, 1), 3), [[3, 4, 5], [6, 7, 8]]),
        (ParameterView((2, 2), (6, 3), 1), [[1, 4], [7, 10]]),
        (ParameterView((), (), 5), 5),
        (ParameterView((0, 3), (3, 1), 0), []),
    ],
)
def test_a_part_of_a_tensor(part: ParameterView, numbers: object) -> None:
    """Counted from where the tensor begins, which need not be where its storage does."""
    whole = torch.arange(14)
    assert part.of(whole[:12]).tolist() == numbers
    assert part.of(whole[2:]).tolist() == part.of(torch.arange(2, 14)).tolist()
    assert part.numel == part.of(whole).numel()


def test_what_lies_one_after_the_other() -> None:
    assert contiguous((2, 3), 4) == ParameterView((2, 3), (3, 1), 4)
    assert contiguous(()) == ParameterView((), (), 0)
    assert ParameterView((4, 1), (1, 9), 3).is_plain
    assert not ParameterView((2, 3), (5, 1), 0).is_plain
    assert ParameterView((2, 3), (5, 1), 7).plain == contiguous((2, 3))


@st.composite
def parts(draw: st.DrawFn) -> ParameterView:
    """What a loader may copy of a matrix of 6 x 10: a slice of it, also transposed, or flat."""
    top, left = draw(st.integers(0, 5)), draw(st.integers(0, 9))
    rows, columns = draw(st.integers(0, 6 - top)), draw(st.integers(1, 10 - left))
    size, stride = (rows, columns), (10, 1)
    if draw(st.booleans()):
        size, stride = size[::-1], stride[::-1]
    if draw(st.booleans()):
        return ParameterView(size, stride, 10 * top + left)
    return contiguous((columns,), 10 * top + left)


@given(parts(), st.integers(1, 70))
def test_pieces_cover_a_view_once(view: ParameterView, limit: int) -> None:
    pieces = list(cut((view, view.plain), limit))
    whole, flat = torch.arange(60), torch.arange(view.numel)
    assert all(part.numel <= limit and part.size == other.size for part, other in pieces)
    for kind, tensor, expected in ((0, whole, view.of(whole)), (1, flat, flat)):
        found = [number for piece in pieces for number in piece[kind].of(tensor).flatten().tolist()]
        assert sorted(found) == sorted(expected.flatten().tolist())
    got = torch.full(view.size, -1)
    for part, other in pieces:
        other.of(got).copy_(part.of(whole))
    assert torch.equal(got, view.of(whole))


@given(parts(), st.integers(1, 25))
def test_blocks_of_a_tensor_cover_its_views_once(view: ParameterView, size: int) -> None:
    """Each block goes to the part of the view that it holds: together they fill it."""
    got = torch.full(view.size, -1)
    for start in range(0, 60, size):
        block = torch.arange(start, min(start + size, 60))
        for part, other in within((view, view.plain), start, start + len(block)):
            here = part._replace(offset=part.offset - start)
            target = other.of(got)
            assert (target == -1).all()
            target.copy_(here.of(block))
    assert torch.equal(got, view.of(torch.arange(60)))
