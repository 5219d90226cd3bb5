"""The table of several languages: what stands in it, and that nobody's text commands a page."""

from __future__ import annotations

import io
from html import escape
from typing import Any

import pytest
from rich.console import Console

from objectives.types import Score, Split
from search.merging.recipe import LayerSwap, Recipe, Single
from search.records.record import Record
from search.results import across
from search.results.choose import DEFAULT, RECOMMENDED
from search.results.comparison import Report, ReportLine


def line(roles: tuple[str, ...], recipe: Recipe, accuracy: float | None, label: str) -> ReportLine:
    share = Score(accuracy, 0.1, 0.9, 60, 60)
    scores = {"accuracy": share, "lcpr": share}
    return ReportLine(
        roles, Record(0, label, "held_out", "scored", "final", label, recipe, scores), {}
    )


LINES = (
    line((RECOMMENDED, DEFAULT), LayerSwap(1, 0, 1, 1, 1, 0), 0.6, "<b>swap</b>\t&"),
    line((), Single("task/0"), 0.2, "math"),
    line((), Single("lang/0"), 0.3, "telugu"),
    line((), Single("base"), 0.1, "base"),
)


def report(split: Split = "held_out", **changes: Any) -> Report:
    return Report("t", "te", split, LINES, (), (), **changes)


ROWS = [
    across.Row("te", "study", "finished", report()),
    across.Row("sw", "<i>other</i>", "not begun"),
]


def test_what_stands_beside_a_language() -> None:
    found = {name: line.record.label for name, line in ROWS[0].lines().items()}
    assert found == {
        RECOMMENDED: LINES[0].record.label,
        DEFAULT: LINES[0].record.label,
        across.EXPERT: "telugu",
        across.BASE: "base",
    }
    assert not ROWS[1].lines()


def test_search_scores_are_not_shown() -> None:
    assert not across.Row("te", "study", "stopped", report("search")).lines()


def test_tsv_has_a_line_for_each_language_and_recipe() -> None:
    head, *body = [row.split("\t") for row in across.tsv(ROWS).splitlines()]
    assert {len(row) for row in (head, *body)} == {len(head)}
    assert [row[3] for row in body] == 2 * list(across.COLUMNS)
    first = dict(zip(head, body[0], strict=True))
    assert first["label"] == "<b>swap</b> &" and first["accuracy"] == "60.0"
    assert first["lcpr_low"] == "10.0"
    assert set(body[-1][4:]) == {""}


@pytest.mark.parametrize("text", ["<b>swap", "<i>other"])
def test_html_holds_texts_as_texts(text: str) -> None:
    page = across.html(ROWS)
    assert text not in page and escape(text) in page
    assert "60.0/60.0" in page and "color-scheme:light dark" in page
    assert "http" not in page and "<script" not in page


def test_terminal_shows_each_language() -> None:
    out = io.StringIO()
    Console(file=out, width=110).print(across.table(ROWS))
    printed = out.getvalue()
    assert "60.0/60.0" in printed and "not begun" in printed
    assert max(map(len, printed.splitlines())) <= 110
