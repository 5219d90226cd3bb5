"""The three renderings of the final table."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from search.records.writer import RecordsWriter
from search.results.tables import markdown, show, tsv, write
from tests.search.results.studies import BEST, CONTROL, DEFAULT, add, full, made


def test_an_empty_study_still_reports(records: RecordsWriter) -> None:
    report, choice, _ = made(records)
    assert choice is None and report.lines == ()
    assert "none is recommended" in report.notes[0]
    assert tsv(report) == "role\n"
    assert markdown(report).startswith("# demo / te: SEARCH items")


def test_a_study_whose_trials_all_failed_says_so_first(records: RecordsWriter) -> None:
    for recipe in (BEST, DEFAULT, CONTROL):
        add(records, recipe, 0.5, "search", "failed")
    report, _, _ = made(records)
    out = io.StringIO()
    show(report, Console(file=out, width=120))
    said = "no recommendation: every trial failed (3 of 3), all of them: engine died: out of memory"
    assert out.getvalue().splitlines()[0] == said
    assert markdown(report).splitlines()[2].startswith("**No recommendation**: every trial failed")
    for text in (out.getvalue(), markdown(report)):
        assert "Pareto" not in text and "recipe  " not in text and "| role |" not in text


@pytest.mark.parametrize(
    ("terminal", "width"), [(True, 150), (True, 104), (False, 80)]
)  # rich takes 80 where there is no terminal
def test_it_fits_the_width(
    records: RecordsWriter, terminal: bool, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out = io.StringIO()
    show(full(records), Console(file=out, force_terminal=terminal, width=width))
    assert ("\x1b" in out.getvalue()) is terminal
    rows = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()
    assert 90 < max(map(len, rows)) <= (min(width, 110) if terminal else 110)
    place = next(i for i, row in enumerate(rows) if row.startswith(" recommended"))
    assert re.split(r"  +", rows[place].strip()) == [
        "recommended", "80.0", "97.0", "99.5", "+25.0 p<0.001", "+40.0 p<0.001", "200"
    ]  # fmt: skip
    assert rows[place + 1].startswith("   te b2 u2 tb0 tu0 m0-l0  ")
    assert "73.9–85.0" in rows[place + 1] and "+31.5 to +48.5" in rows[place + 1]


@pytest.mark.parametrize("width", [110, 80])
def test_a_long_recipe_name_goes_on_below_where_it_began(
    records: RecordsWriter, width: int
) -> None:
    out, report = io.StringIO(), full(records)
    long = "te TIES density.70 scale1.00 m0 .70 l1 .30 and " + "x" * 200
    first = replace(report.lines[0], record=replace(report.lines[0].record, label=long))
    console = Console(file=out, force_terminal=True, width=width, color_system=None)
    show(replace(report, title="t" * 300, lines=(first, *report.lines[1:])), console)
    rows = out.getvalue().splitlines()
    assert max(map(len, rows)) <= width
    start = next(i for i, row in enumerate(rows) if row.startswith("   te TIES"))
    end = next(i for i, row in enumerate(rows) if row.startswith(" default recipe"))
    assert end - start > 3 and all(row[:3] == "   " != row[3:4] for row in rows[start:end])
    assert "".join(row[3:30].split(" ")[0] for row in rows[start + 2 : end]).count("x") > 100


def test_a_narrow_terminal_gets_p_values_instead_of_intervals(records: RecordsWriter) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    show(full(records), console)
    rows = out.getvalue().splitlines()
    assert max(map(len, rows)) <= 80
    place = next(i for i, row in enumerate(rows) if row.startswith(" recommended"))
    assert "+25.0" in rows[place] and "p<0.001" in rows[place + 1]
    assert "te b2 u2 tb0 tu0 m0-l0" in rows[place + 1]


@pytest.mark.parametrize("width", [110, 80])
def test_experts_of_one_kind_are_one_row_with_their_range(
    records: RecordsWriter, width: int
) -> None:
    report = full(records)
    out = io.StringIO()
    show(report, Console(file=out, force_terminal=True, width=width, color_system=None))
    rows = [re.split(r"  +", row.strip()) for row in out.getvalue().splitlines()]
    place = next(i for i, row in enumerate(rows) if row[0] == "best language expert")
    assert rows[place][1:3] == ["35.0", "97.0"]
    assert rows[place + 1][0] == "te language expert l1"
    assert rows[place + 2] == ["range of the 2", "30.0–35.0", "97.0"]
    assert ["math expert"] in [row[:1] for row in rows]
    assert [row for row in rows if "l0" in row[-1] and "expert" in row[0]] == []
    for label in ("te language expert l0", "te language expert l1"):
        assert label in markdown(report) and label in tsv(report)


def test_markdown_and_tsv_hold_the_same_rows(records: RecordsWriter, tmp_path: Path) -> None:
    report = full(records)
    text = markdown(report)
    row = "| recommended | te b2 u2 tb0 tu0 m0-l0 | 80.0 (73.9–85.0) | 97.0 (94.0–99.0) | 100.0 |"
    assert row in text
    head, *rows = [row.split("\t") for row in tsv(report).splitlines()]
    values = [dict(zip(head, row, strict=True)) for row in rows]
    assert len(values) == 8
    assert values[0]["accuracy"] == "80.0" and values[0]["to_soup"] == "25.0"
    assert values[0]["lcpr_n"] == "98" and float(values[0]["to_expert_p"]) < 0.001
    assert values[0]["lcpr_to_expert"] == "31.7" and float(values[0]["lcpr_to_expert_p"]) < 0.05
    assert values[0]["coverage"] == "100.0" and values[0]["coverage_n"] == "10"
    assert values[2]["to_soup"] == values[2]["lcpr_to_soup"] == ""
    assert [f.read_text("utf-8") for f in write(report, tmp_path)] == [text, tsv(report)]


@pytest.mark.slow
def test_the_report_is_the_same_each_time(records: RecordsWriter) -> None:
    first = markdown(full(records))
    folder = records.folder
    records.close()
    again = RecordsWriter.open(folder)
    assert markdown(made(again)[0]) == first


def test_the_front_is_listed(records: RecordsWriter) -> None:
    text = markdown(full(records))
    front = text.split("## Pareto front", 1)[1]
    assert "85.0  97.0  te b2 u2 tb0 tu0 m0-l0" in front and "te base" not in front
