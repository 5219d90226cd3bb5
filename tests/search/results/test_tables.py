"""The final table: its numbers, its notes and its three renderings."""

from __future__ import annotations

import io
import random
import re
from pathlib import Path

import pytest
from rich.console import Console

from objectives.stats import proportion
from objectives.types import ItemResult, Score, Split
from search.merging.recipe import LayerSwap, Recipe, Single, key, label, soup
from search.records.head import StudyHead
from search.records.items import pack_items
from search.records.record import Origin, Record, State
from search.records.writer import RecordsWriter
from search.results.choose import Choice, FinalRow, final_rows, recommend
from search.results.comparison import Report, build
from search.results.tables import markdown, show, tsv, write

L = 10
N = 200
BEST, DEFAULT = LayerSwap(0, 0, 2, 2, 0, 0), LayerSwap(0, 0, 1, 1, 1, 1)
CONTROL = LayerSwap(0, 0, 0, 0, 0, 0)
SOURCES = ("base", "task/0", "lang/0", "lang/1")
HELD_OUT: dict[Recipe, float] = {
    BEST: 0.80,
    DEFAULT: 0.60,
    soup(0, 0, L): 0.55,
    CONTROL: 0.45,
    Single("task/0"): 0.40,
    Single("lang/0"): 0.30,
    Single("lang/1"): 0.35,
    Single("base"): 0.20,
}
SEARCH = {recipe: share + 0.05 for recipe, share in HELD_OUT.items()}


def answers(share: float, seed: int) -> list[bool]:
    """Exactly this share of the items right, which ones by the seed."""
    right = [i < round(share * N) for i in range(N)]
    random.Random(seed).shuffle(right)
    return right


def add(
    records: RecordsWriter,
    recipe: Recipe,
    accuracy: float,
    split: Split,
    state: State = "scored",
    origin: Origin = "search",
) -> None:
    right = answers(accuracy, int(key(recipe, L), 16))
    items = [
        ItemResult("mgsm", f"q{i}", "p", "c", 3, "stop", {"correct": ok})
        for i, ok in enumerate(right)
    ]
    confused = round(10 * (1 - accuracy))
    items += [
        ItemResult("lcpr", f"p{i}", "p", "c", 3, "stop", {"outcome": outcome, "source": "okapi"})
        for i, outcome in enumerate(["LINE_ERROR"] * confused + ["PASS"] * (10 - confused))
    ]
    scores = {
        "accuracy": proportion(sum(right), N, N),
        "lcpr": Score(0.97, 0.94, 0.99, 98, 100),
        "in_language": proportion(N - 1, N, N),
        "coverage": proportion(9 if accuracy < 0.5 else 10, 10, 10),
    }
    record = Record(
        number=0,
        key=key(recipe, L),
        split=split,
        state=state,
        origin=origin,
        label=label(recipe, "te", L),
        recipe=recipe,
        scores={} if state == "failed" else scores,
        reason="" if state == "scored" else "engine died: out of memory",
    )
    records.append(record, pack_items(items))


@pytest.fixture
def records(tmp_path: Path) -> RecordsWriter:
    return RecordsWriter.create(tmp_path / "study", StudyHead("study", {}))


def made(records: RecordsWriter, lang: str = "te") -> tuple[Report, Choice | None, list[FinalRow]]:
    choice = recommend(records.trials, L, 0.02)
    rows = final_rows(records.trials, choice, DEFAULT, SOURCES, L)
    return build(records, rows, choice, family="demo", lang=lang, n_layers=L), choice, rows


def full(records: RecordsWriter) -> Report:
    for recipe, share in SEARCH.items():
        add(records, recipe, share, "search")
    for recipe, share in HELD_OUT.items():
        add(records, recipe, share, "held_out", origin="final")
    return made(records)[0]


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
    assert "Not in the table: best soup, failed: engine died: out of memory." in notes
    assert "Not in the table: default recipe, not scored." in notes
    assert "base (te base) is infeasible: engine died" in notes
    assert "base (infeasible)" in markdown(report)
    assert not report.lines[0].differences


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


def test_an_empty_study_still_reports(records: RecordsWriter) -> None:
    report, choice, _ = made(records)
    assert choice is None and report.lines == ()
    assert "none is recommended" in report.notes[0]
    assert tsv(report) == "role\n"
    assert markdown(report).startswith("# demo / te: SEARCH items")


@pytest.mark.parametrize(
    ("terminal", "width"), [(True, 120), (True, 104), (False, 80)]
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
    assert 90 < max(map(len, rows)) <= (width if terminal else 120)
    place = next(i for i, row in enumerate(rows) if row.startswith(" recommended"))
    assert re.split(r"  +", rows[place].strip()) == [
        "recommended", "80.0", "97.0", "99.5", "+25.0 p<0.001", "+40.0 p<0.001", "200"
    ]  # fmt: skip
    assert rows[place + 1].startswith("   te b2 u2 tb0 tu0 m0-l0  ")
    assert "73.9–85.0" in rows[place + 1] and "+31.5 to +48.5" in rows[place + 1]


def test_a_narrow_terminal_gets_p_values_instead_of_intervals(records: RecordsWriter) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    show(full(records), console)
    rows = out.getvalue().splitlines()
    assert max(map(len, rows)) <= 80
    place = next(i for i, row in enumerate(rows) if row.startswith(" recommended"))
    assert "+25.0" in rows[place] and "p<0.001" in rows[place + 1]
    assert "te b2 u2 tb0 tu0 m0-l0" in rows[place + 1]


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
