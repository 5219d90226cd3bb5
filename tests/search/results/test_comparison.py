"""What held-out items say: lines, paired differences, and what must be said below the table."""

from __future__ import annotations

import re

import pytest

from objectives.stats import PairedDifference
from search.merging.recipe import LayerSwap, Single, key, soup
from search.records.writer import RecordsWriter
from search.results.comparison import ReportLine, p_value, signed
from search.results.tables import markdown
from tests.search.results.studies import BEST, DEFAULT, HELD_OUT, SEARCH, L, N, add, full, made


def test_every_number_of_the_table(records: RecordsWriter) -> None:
    report = full(records)
    lines = dict(zip([line.role for line in report.lines], report.lines, strict=False))
    assert report.split == "held_out"
    assert [(line.role, line.score("accuracy").value) for line in report.lines] == [
        ("recommended", 0.80),
        ("default recipe", 0.60),
        ("best soup", 0.55),
        ("control b=u=0", 0.45),
        ("math expert", 0.40),
        ("language expert", 0.30),
        ("language expert", 0.35),
        ("base", 0.20),
    ]
    to_soup = lines["recommended"].difference("accuracy", "soup")
    to_expert = lines["recommended"].difference("accuracy", "expert")
    assert to_soup is not None and to_soup.difference == pytest.approx(0.25)
    assert to_expert is not None
    assert to_expert.difference == pytest.approx(0.40)  # to the math expert's 0.40
    assert to_soup.n == N and to_soup.p_value < 0.001
    assert lines["best soup"].difference("accuracy", "soup") is None
    assert lines["math expert"].difference("accuracy", "expert") is None
    base = lines["base"].difference("accuracy", "soup")
    assert base is not None and base.difference == pytest.approx(-0.35)


def test_pairs_are_formed_by_item_not_by_place(records: RecordsWriter) -> None:
    """Two models right on the same items differ by nothing, in whatever order items are written."""
    add(records, BEST, 0.5, "search")
    add(records, soup(0, 0, L), 0.5, "search")
    items = [records.items(record) for record in records.trials]
    right = [{i.id for i in part if i.verdict.get("correct")} for part in items]
    report, *_ = made(records)
    (paired,) = [
        line.difference("accuracy", "soup") for line in report.lines if line.role == "recommended"
    ]
    assert paired is not None
    only_a, only_b = len(right[0] - right[1]), len(right[1] - right[0])
    assert only_a == only_b > 0  # the shuffles differ
    assert paired.difference == 0 and paired.p_value == 1.0 and paired.low < 0 < paired.high


def test_notes_of_a_finished_study(records: RecordsWriter) -> None:
    notes = "\n".join(full(records).notes)
    assert "compared 8 recipes on 200 items" in notes
    assert "85.0% of the recommended recipe is optimistic, held out it has 80.0%" in notes
    assert "Best expert on these items: te math expert m0." in notes
    assert "that LCPR could judge: 90.0% to 100.0% over the rows" in notes
    assert "against its language expert: +42.7 points (+" in notes
    assert "default recipe" not in notes  # 60% is far below the interval of 80%
    assert "Latin" not in notes


def test_latin_script_is_said(records: RecordsWriter) -> None:
    full(records)
    assert "Swahili is written in Latin script" in "\n".join(made(records, "sw")[0].notes)


@pytest.mark.parametrize(
    ("default", "said"), [(0.76, "its 76.0% is not below"), (0.83, "its 83.0% is not below")]
)
def test_a_close_default_recipe_is_said(records: RecordsWriter, default: float, said: str) -> None:
    for recipe, share in (SEARCH | {BEST: 0.9}).items():
        add(records, recipe, share, "search")
    for recipe, share in (HELD_OUT | {DEFAULT: default}).items():
        add(records, recipe, share, "held_out")
    assert said in "\n".join(made(records)[0].notes)


def test_a_default_recipe_that_answers_in_english_does_not_come_close(
    records: RecordsWriter,
) -> None:
    for recipe, share in SEARCH.items():
        add(records, recipe, share, "search")
    for recipe, share in (HELD_OUT | {DEFAULT: 0.83}).items():
        add(records, recipe, share, "held_out", confused=10 if recipe == DEFAULT else None)
    assert "default recipe" not in "\n".join(made(records)[0].notes)


def test_the_default_recipe_itself_is_recommended(records: RecordsWriter) -> None:
    for recipe, share in (SEARCH | {DEFAULT: 0.95}).items():
        add(records, recipe, share, "search")
    for recipe, share in HELD_OUT.items():
        add(records, recipe, share, "held_out")
    report, *_ = made(records)
    assert report.lines[0].role == "recommended, default recipe"
    assert "is the paper's default recipe" in "\n".join(report.notes)


def test_failed_infeasible_and_missing_rows_are_named(records: RecordsWriter) -> None:
    for recipe, share in SEARCH.items():
        add(records, recipe, share, "search")
    add(records, BEST, 0.8, "held_out")
    add(records, soup(0, 0, L), 0.5, "held_out", state="failed")
    add(records, Single("base"), 0.1, "held_out", state="infeasible")
    report, *_ = made(records)
    notes = "\n".join(report.notes)
    assert [line.role for line in report.lines] == ["recommended", "base"]
    assert "Not in the table: best soup (te soup w.50 m0-l0), failed: engine died: out of " in notes
    assert "Not in the table: default recipe (te b1 u1 tb1 tu1 w.50 m0-l0), not scored." in notes
    expert = r"Not in the table: language expert \(te language expert l[01]\), not scored."
    assert len(set(re.findall(expert, notes))) == 2  # which of them
    assert "base (te base) is infeasible: engine died" in notes
    assert "base (infeasible)" in markdown(report)
    assert not report.lines[0].differences


def test_stopped_trials_are_counted_and_never_recommended(records: RecordsWriter) -> None:
    for recipe, share in SEARCH.items():
        add(records, recipe, share, "search")
    add(records, LayerSwap(1, 0, 3, 2, 0, 0), 1.0, "search", state="stopped")
    report, choice, _ = made(records)
    assert "compared 8 recipes (1 stopped early besides)" in "\n".join(report.notes)
    assert choice is not None and choice.record.key == key(BEST, L)


@pytest.mark.slow
def test_an_interrupted_search_shows_search_scores_best_first(records: RecordsWriter) -> None:
    for recipe, share in SEARCH.items():
        add(records, recipe, share, "search")
    for b in range(12):
        add(records, LayerSwap(0, 1, b % 4 + 1, 3, b // 4, 0), 0.5 + b / 100, "search")
    add(records, LayerSwap(0, 1, 4, 4, 0, 0), 0.99, "search", state="infeasible")
    report, *_ = made(records)
    shares = [line.score("accuracy").value or 0 for line in report.lines]
    assert shares == sorted(shares, reverse=True)
    assert report.split == "search" and "optimistic" in report.title
    assert sum(line.role == "search trial" for line in report.lines) == 10
    assert "no held-out score exists yet" in "\n".join(report.notes)
    assert "20 recipes (1 infeasible besides)" in "\n".join(report.notes)


@pytest.mark.slow
def test_answers_that_are_lost_leave_the_scores(records: RecordsWriter) -> None:
    """The line stays, is compared with nothing, and a note says why; once for all files."""
    full(records)
    held_out = records.ended("held_out")
    (records.folder / held_out[key(BEST, L)].items).unlink()
    (records.folder / records.ended("search")[key(BEST, L)].items).write_bytes(b"no gzip")
    report, *_ = made(records)
    first, second = report.lines[:2]
    assert first.role == "recommended" and first.score("accuracy").value == 0.80
    assert not first.differences and second.differences
    (note,) = [note for note in report.notes if "cannot be read" in note]
    assert note.startswith("The answers of 2 trials cannot be read: ")
    assert f"({records.folder}/items/{key(BEST, L)}.held_out.jsonl.gz cannot be read: " in note
    assert report.selection_bias is None
    assert "against its language expert" not in "\n".join(report.notes)


def test_the_recommended_recipe_is_missing_from_the_table(records: RecordsWriter) -> None:
    for recipe, share in SEARCH.items():
        add(records, recipe, share, "search")
    for recipe, share in HELD_OUT.items():
        add(records, recipe, share, "held_out", "failed" if recipe == BEST else "scored")
    report, *_ = made(records)
    assert "its held-out score is missing" in report.notes[1]
    assert "recommended" not in {line.role for line in report.lines}


def test_nothing_but_baselines(records: RecordsWriter) -> None:
    add(records, Single("base"), 0.2, "search")
    add(records, Single("lang/0"), 0.3, "search", "infeasible")
    report, choice, _ = made(records)
    assert choice is None and [line.role for line in report.lines][-1] == "base"
    assert "compared 1 recipe (1 infeasible besides); no swap was scored" in report.notes[0]


def test_a_line_without_a_score(records: RecordsWriter) -> None:
    (line, *_) = full(records).lines
    found = line.score("no such score")
    assert (found.value, found.low, found.n_scored, found.n_total) == (None, None, 0, 0)
    assert line.difference("no such score", "soup") is None
    assert ReportLine(("a", "b"), line.record, {}).role == "a, b"


@pytest.mark.parametrize(("share", "text"), [(0.0, "+0.0"), (0.126, "+12.6"), (-0.5, "-50.0")])
def test_a_difference_has_its_sign(share: float, text: str) -> None:
    assert signed(share) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0, "p<0.001"), (0.000999, "p<0.001"), (0.001, "p=0.001"), (1.0, "p=1.000")]
)
def test_a_p_value_is_never_said_to_be_zero(p: float, text: str) -> None:
    assert p_value(PairedDifference(0.1, 0.0, 0.2, p, 10)) == text
