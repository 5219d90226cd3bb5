"""Figures of how the search went."""

from __future__ import annotations

from search.report.material import Material
from search.report.search import costs, phase_of, progress, spent, what_matters
from tests.search.report.test_scores import valid


def test_progress_ends_at_the_best_swap(searched: Material) -> None:
    plot = valid(progress(searched))
    line = plot.data[-1]
    assert line["name"] == "best swap so far"
    assert list(line["y"]) == sorted(line["y"])
    best = searched.final.choice
    assert best is not None
    assert line["y"][-1] == round(100 * (best.record.value("accuracy") or 0), 2)
    by_number, by_time = (choice["x"] for choice in plot.choices.values())
    assert [len(x) for x in by_number] == [len(x) for x in by_time] == [
        len(trace["y"]) for trace in plot.data
    ]  # fmt: skip
    assert max(by_time[0]) <= 40 * 6 / 60


def test_what_matters_is_said_of_both_targets(searched: Material, study: Material) -> None:
    plot = valid(what_matters(searched))
    assert [trace["name"] for trace in plot.data] == ["accuracy", "LCPR"]
    assert abs(sum(plot.data[0]["x"]) - 100) < 0.1
    assert what_matters(study) is None  # three swaps


def test_where_time_and_tokens_went(searched: Material, study: Material) -> None:
    plot = valid(costs(searched))
    shown = {trace["name"]: sum(trace["x"]) for trace in plot.data}
    assert {name: round(60 * x / 40, 2) for name, x in shown.items()} == {
        "materialise": 0.1,
        "generate": 5.0,
        "score": 0.5,
        "other": 0.4,
    }
    assert costs(study) is None
    rows = list(spent(searched))
    assert [row["phase"] for row in rows] == ["search", "all"]
    assert rows[-1]["tokens"] == "360,000" and rows[-1]["speed"] == "1,800"
    stopped = sum(r.state == "stopped" for r in searched.search)
    assert rows[0]["stopped"] == stopped > 0
    assert {phase_of(r) for r in study.records.trials} == {"search", "final table"}
