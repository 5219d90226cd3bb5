"""The facts of a study's best recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from search.merging.recipe import Single, to_dict
from search.records.writer import RecordsWriter
from search.results.best import Best, of_records
from search.results.study_result import StudyResult
from tests.search.results.studies import BEST, SEARCH, add, begin, full


def best_of(records: RecordsWriter, running: bool = True) -> Best:
    final = StudyResult.of(records)
    return of_records(records, final, final.compare(records), running=running)


@pytest.mark.slow
def test_of_a_whole_study(tmp_path: Path) -> None:
    records = begin(tmp_path / "a b" / "s")
    full(records)
    best = best_of(records)
    assert best.state == "running" and best.compared == 8
    assert best.label == "te b2 u2 tb0 tu0 m0-l0" and best.recipe == to_dict(BEST)
    assert best.words == (
        "layers 0 to 1: lang/0; layers 2 to 7: task/0; layers 8 to 9: lang/0; "
        "embeddings, final norm and head: 0.5 task/0 + 0.5 lang/0"
    )
    assert [Path(place).name for place in best.experts.values()] == ["math-0", "telugu-0"]
    assert best.search["accuracy"]["value"] == 0.85
    assert best.held_out["accuracy"]["value"] == 0.80 and best.split == "held_out"
    rows = [(other.what, other.label, other.difference) for other in best.beats]
    assert rows == [
        ("default recipe", "te b1 u1 tb1 tu1 w.50 m0-l0", pytest.approx(0.20)),
        ("best soup", "te soup w.50 m0-l0", pytest.approx(0.25)),
        ("best expert", "te math expert m0", pytest.approx(0.40)),
    ]
    assert all(other.p is not None and other.p < 0.001 for other in best.beats)
    assert best.alike == {} and best.no_recommendation == ""
    command = f"python -m search.export --study '{records.path}' --out merged"
    assert best.export == command and best.serve.startswith("vllm serve merged")
    assert best_of(records, running=False).state == "stopped"
    records.rewrite(replace(records.head(), finished="2026-01-01T00:00:00Z"))
    assert best_of(records).state == "finished"


def test_those_that_might_as_well_be_taken_and_what_is_not_there(tmp_path: Path) -> None:
    records = begin(tmp_path / "s")
    for recipe, share in SEARCH.items():
        add(records, recipe, 0.8 if recipe != Single("base") else share, "search")
    best = best_of(records)
    assert best.split == "search" and best.held_out == {}
    assert set(best.alike.values()) == {0.8}


def test_a_study_that_recommends_nothing(tmp_path: Path) -> None:
    records = begin(tmp_path / "s")
    assert best_of(records).label == ""
    add(records, BEST, 0.01, "search")
    best = best_of(records)
    assert "2 of 200 search items right" in best.no_recommendation
    assert best.label and best.export.endswith("--out merged --force")
    assert best.beats == ()
