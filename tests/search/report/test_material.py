"""A study, judged once."""

from __future__ import annotations

from objectives.types import Score
from search.merging.recipe import Single, Soup
from search.report.material import Material, shown
from tests.search.results.studies import BEST, L


def test_a_study_at_one_moment(study: Material, searched: Material) -> None:
    assert study.best.state == "finished" and searched.best.state == "running"
    assert study.n_layers == L and len(study.search) == 8
    assert {r.recipe for r in study.swaps} >= {BEST}
    assert not any(isinstance(r.recipe, Single | Soup) for r in study.swaps)
    roles = {study.roles(record) for record in study.search}
    assert {"recommended", "default recipe", "best soup", "base"} <= roles
    assert all(r.state == "scored" for r in searched.swaps)


def test_a_score_in_words() -> None:
    assert shown(Score(0.872, 0.8364, 0.9, 400, 400)) == "87.2% (83.6–90.0, 400 items)"
    assert shown(None) == shown(Score(None, None, None, 0, 9)) == "–"
    assert shown(Score(0.5, None, None, 3, 3)) == "50.0%"
