"""Which trials a choice is compared with."""

from __future__ import annotations

from search.merging.recipe import LayerSwap
from search.records.writer import RecordsWriter
from search.results.choose import recommend
from search.results.chosen import examine
from tests.search.results.studies import BEST, L, add

CLOSE, FAR = LayerSwap(0, 0, 3, 2, 0, 0), LayerSwap(0, 0, 4, 2, 0, 0)


def test_the_close_ones_are_named_and_the_score_is_corrected(records: RecordsWriter) -> None:
    for recipe, share in ((BEST, 0.80), (CLOSE, 0.795), (FAR, 0.30)):
        add(records, recipe, share, "search")
    found = examine(records, recommend(records.trials, L, 0.02), L)
    assert found is not None and found.swaps == 3
    assert [record.recipe for record in found.alike] == [CLOSE]
    assert 0.7 < found.corrected < 0.80


def test_where_it_cannot_be_said(records: RecordsWriter) -> None:
    assert examine(records, None, L) is None
    add(records, BEST, 0.8, "search")
    choice = recommend(records.trials, L, 0.02)
    assert examine(records, choice, L) is None  # one recipe
    add(records, FAR, 0.3, "search")
    assert examine(records, choice, L) is not None
    (records.folder / records.trials[-1].items).unlink()
    assert examine(records, choice, L) is None
