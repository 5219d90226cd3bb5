"""Sentences and tables of the report."""

from __future__ import annotations

from search.report.material import Material
from search.report.words import all_trials, final_table, searched, where


def test_what_was_searched(study: Material) -> None:
    first, second = searched(study)
    assert first.startswith("Family demo, Telugu (te): 3 task and 3 language experts of 10 layers")
    assert "b 0 to 5, u 0 to 5, t_b 0 to 2" in first and "for the best accuracy, and LCPR" in first
    assert second.startswith("Scored: 8 recipes, on 200 search items; 8 of 60 proposals")
    assert second.endswith("The study has finished.")


def test_of_a_running_one(searched: Material) -> None:
    from search.report.words import searched as sentences

    second = sentences(searched)[1]
    assert "stopped early besides)" in second and "The study is running, last trial ended" in second


def test_the_final_table(study: Material) -> None:
    table = final_table(study)
    assert table["heads"] == [
        *("accuracy %", "LCPR %", "coverage %", "in te %", "accuracy vs best soup"),
        *("accuracy vs best expert", "accuracy vs default", "items"),
    ]
    best = table["rows"][0]
    assert best["best"] and best["role"] == "recommended"
    assert best["cells"][0] == ("80.0", "73.9–85.0")
    assert best["cells"][4][0] == "+25.0" and best["cells"][4][2] == "p<0.001"
    assert table["rows"][2]["cells"][4] == ("–",)  # the soup itself
    assert {len(row["cells"]) for row in table["rows"]} == {len(table["heads"])}


def test_all_trials_can_be_sorted(study: Material) -> None:
    table = all_trials(study)
    assert len(table["rows"]) == 16 and {len(row) for row in table["rows"]} == {10}
    assert table["rows"][0][5][1] == study.records.trials[0].value("accuracy")


def test_where_the_models_are(study: Material) -> None:
    names = dict(where(study))
    assert names["base"].endswith("weights/base") and "lang/2" in names
