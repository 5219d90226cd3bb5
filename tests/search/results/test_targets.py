"""Other targets than today's two: rule, front and tables follow the table of targets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from objectives import targets
from objectives.stats import PairedDifference
from objectives.target import Target
from objectives.targets import TARGETS
from search.merging.recipe import Single
from search.records.record import Record
from search.results.choose import best_swap, gains, pareto
from search.results.comparison import (
    Report,
    ReportLine,
    _comparison_note,
    _guard_note,
    _language_note,
)
from search.results.tables import markdown, tsv
from tests.search.results.test_choose import EXPERTS, L, share, swap, trial

LENGTH = Target("length", "brevity", "length", "minimize", kind="mean")


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accuracy, LCPR, and answers that are to be short."""
    monkeypatch.setattr(targets, "TARGETS", (*TARGETS, LENGTH))


def with_length(record: Record, length: float | None) -> Record:
    return replace(record, scores={**record.scores, "length": share(length)})


def test_less_is_better_where_the_target_says_so(three: None) -> None:
    one, other = (with_length(trial(swap(b, 1), 0.5, 0.5), 0.1 * b) for b in (1, 2))
    assert gains(one) == pytest.approx((0.5, 0.5, -0.1))
    assert pareto([other, one]) == [one]
    assert pareto([other, with_length(one, None)]) == [other]


def test_every_target_after_the_first_has_its_floor(three: None) -> None:
    experts = [with_length(record, 0.30) for record in EXPERTS]
    long = with_length(trial(swap(1, 1), 0.9, 0.98), 0.40)
    confused = with_length(trial(swap(2, 1), 0.8, 0.5), 0.10)
    good = with_length(trial(swap(3, 1), 0.7, 0.97), 0.31)
    choice = best_swap([*experts, long, confused, good], L, 0.02)
    assert choice is not None and choice.record == good
    assert "the 1 of 3 swaps whose LCPR is at least" in choice.reason
    assert "and whose length is at most their language expert's plus 2.0 points" in choice.reason
    assert "(32.0% for this pair; this one has 31.0%)" in choice.reason
    choice = best_swap([*experts, long, confused], L, 0.02)
    assert choice is not None and choice.reason.startswith("Highest LCPR, 98.0%, of 2 swaps: none")


def test_one_target_alone_has_no_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "TARGETS", TARGETS[:1])
    choice = best_swap([*EXPERTS, trial(swap(1, 1), 0.9, 0.1)], L, 0.02)
    assert choice is not None
    assert choice.reason == "Highest search accuracy, 90.0%, of 1 swap."


def test_tables_have_a_column_for_each_target(three: None) -> None:
    record = with_length(trial(swap(1, 1), 0.9, 0.8), 0.25)
    difference = PairedDifference(-0.05, -0.1, 0.0, 0.04, 20)
    line = ReportLine(("recommended", "default recipe"), record, {("length", "soup"): difference})
    report = Report("demo", "te", "held_out", (line,), (), (record,))
    text = markdown(report)
    head, _, row = (row.split(" | ") for row in text.splitlines()[2:5])
    assert row[head.index("length %")] == "25.0 (25.0–25.0)"
    assert "(accuracy %, LCPR %, length %)" in text and "90.0  80.0  25.0  te b1" in text
    names, values = (row.split("\t") for row in tsv(report).splitlines())
    found = dict(zip(names, values, strict=True))
    assert (found["length"], found["length_to_soup"], found["length_to_expert"]) == (
        "25.0",
        "-5.0",
        "",
    )
    assert found["role"] == "recommended, default recipe"


def test_gain_keeps_the_order() -> None:
    assert TARGETS[0].gain(0.3) == 0.3 and LENGTH.gain(0.3) == -0.3
    record = Record(0, "k", "search", "scored", "search", "x", Single("base"))
    assert gains(record) == (float("-inf"), float("-inf"))


def test_a_constraint_is_a_floor_with_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Target("length", "", "length", least=0.6)
    monkeypatch.setattr(targets, "TARGETS", (*TARGETS, kept))
    best = with_length(trial(swap(1, 1), 0.9, 0.98), 0.5)
    good = with_length(trial(swap(3, 1), 0.7, 0.97), 0.61)
    choice = best_swap([*EXPERTS, best, good], L, 0.02)
    assert choice is not None and choice.record == good
    assert "length is at least 60.0% (objective.constraints; this one has 61.0%)" in choice.reason
    choice = best_swap([*EXPERTS, best], L, 0.02)
    assert choice is not None and "none has" in choice.reason


SHARE, LCPR = TARGETS
PARTS = Target("lm_eval", "lm_eval", "lm_eval", kind="parts")
BOTH = targets.several({"mgsm": SHARE, "lm_eval": PARTS}, "worst")


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (TARGETS, "(Wilson; bootstrap for LCPR and differences), p is by McNemar's exact test,"),
        ((PARTS,), "95% (bootstrap for lm_eval and differences), p is by a paired bootstrap,"),
        ((BOTH, LCPR), "for worst task, LCPR and differences), p is by a paired bootstrap,"),
        ((LENGTH,), "95% (bootstrap for differences), p is by random signs,"),
    ],
)
def test_words_of_statistics_follow_the_target(
    chosen: tuple[Target, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "TARGETS", chosen)
    expert = ReportLine(("math expert",), trial(Single("task/0"), 0.5, 0.5), {})
    assert said in _comparison_note([expert])[0]
    assert bool(_language_note("sw")) == (LCPR in chosen)
    found = PairedDifference(-0.05, -0.1, 0.0, 0.04, 20)
    assert _guard_note(chosen[-1], found, "best swap").endswith(f"p=0.040 by {chosen[-1].test}).")
