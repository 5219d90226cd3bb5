"""How a tensor's merge is cut: which parts are read, how often, and where they go."""

from __future__ import annotations

import torch

from search.engine.pieces import Wanted, check_pieces, merge_pieces
from search.engine.staging import Sizes
from search.engine.views import ParameterView, contiguous
from search.merging.mix import Mix, Term, linear

SIZES = Sizes(block=50)
TERMS = (Term("task/0", 0.5), Term("lang/0", 0.6))
HALF = ParameterView((10, 6), (12, 1), 6)


def wanted(*sources: ParameterView, dtype: torch.dtype = torch.bfloat16) -> Wanted:
    """A tensor of shape (10, 12), parts of which go to parameters of their own."""
    copies = [(s, s.plain, torch.zeros(s.size, dtype=torch.bfloat16)) for s in sources]
    return Wanted("w", 120, 12, dtype, copies)


def test_a_rank_reads_its_slice_where_elements_are_merged_alone() -> None:
    for mix in (linear([("task/0", 1.0)]), Mix("task_arithmetic", TERMS)):
        pieces = list(merge_pieces(mix, wanted(HALF), SIZES))
        assert [read.view.size for p in pieces for read in p.reads[:1]] == [(8, 6), (2, 6)]
        assert {read.held for p in pieces for read in p.reads} == {HALF}
        assert all(tuple(r.source for r in p.reads) == mix.sources for p in pieces)


def test_what_goes_to_two_places_is_read_once() -> None:
    whole = contiguous((10, 12))
    twice = wanted(whole, whole)
    pieces = list(merge_pieces(linear([("task/0", 0.5), ("lang/0", 0.5)]), twice, SIZES))
    assert sum(p.reads[0].view.numel for p in pieces) == 120
    assert {read.held for p in pieces for read in p.reads} == {contiguous((120,))}


def test_the_whole_is_read_for_each_survey_and_to_be_written() -> None:
    mixes = {"ties": 3, "dare_linear": 1, "slerp": 2}
    for method, passes in mixes.items():
        mix = Mix(method, TERMS, density=0.5, base="" if method == "slerp" else "base")
        pieces = list(merge_pieces(mix, wanted(HALF), SIZES))
        starts = [piece.reads[0].view.offset for piece in pieces]
        assert starts == [0, 50, 100] * passes
    assert len(list(merge_pieces(Mix("ties", TERMS), wanted(HALF), SIZES))) == 3


def test_only_what_needs_no_conversion_goes_straight() -> None:
    copy = linear([("task/0", 1.0)])
    (piece,) = merge_pieces(copy, wanted(contiguous((4, 12))), SIZES)
    assert piece.straight is not None
    (piece,) = merge_pieces(copy, wanted(contiguous((4, 12)), dtype=torch.float32), SIZES)
    assert piece.straight is None
    ids = merge_pieces(Mix("ties", TERMS), wanted(contiguous((4, 12)), dtype=torch.int64), SIZES)
    assert [read.source for piece in ids for read in piece.reads] == ["base"]


def test_the_slices_or_all_is_looked_at() -> None:
    finite = torch.ones((), dtype=torch.bool)
    for whole, numel in ((False, 60), (True, 120)):
        pieces = list(check_pieces("base", wanted(HALF), whole, finite, SIZES))
        assert sum(piece.reads[0].view.numel for piece in pieces) == numel
    for value, fine in ((1.0, True), (float("nan"), False), (1.0, False)):  # once found, it stays
        pieces[0].use([torch.tensor([0.0, value, -2.0])])
        assert bool(finite) is fine
