"""English retention: MGSM's problems in English, under names of their own."""

from __future__ import annotations

import pytest

from objectives import targets
from objectives.english import EnglishSettings
from objectives.langid import LanguageIdentifier
from objectives.settings import Shared
from objectives.types import Completion
from search.config import compose
from search.config.schema import Config


@pytest.fixture(scope="module")
def config() -> Config:
    asked = ["objective.also=[english]", "objective.constraints={english_accuracy: 0.6}"]
    return compose.load(asked, {"lang": "te"})


def test_it_is_scored_beside_the_language(config: Config) -> None:
    assert list(config.objective.settings()) == ["mgsm", "lcpr", "english"]
    main, lcpr, english = config.objective.targets()
    assert (main.score, lcpr.score) == ("accuracy", "lcpr")
    assert (english.score, english.least, english.item) == ("english_accuracy", 0.6, "correct")


def test_scores_and_items_are_its_own(config: Config) -> None:
    settings = config.objective.settings()["english"]
    assert isinstance(settings, EnglishSettings)
    shared = Shared("te", 0, LanguageIdentifier(None), None, 1.0, False, False)
    english = settings.build(shared)
    asked = english.requests("search")
    assert len(asked) == settings.search_items and str(asked[0].prompt).isascii()
    found = english.score("search", [Completion("The answer is 7.", 5, "stop")] * len(asked))
    assert set(found.scores) == {"english_accuracy", "english_in_language"}
    assert found.infeasible is None  # of answers too short to be judged MGSM would say so
    assert {item.objective for item in found.items} == {"english"}
    share = sum(bool(item.verdict["correct"]) for item in found.items) / len(asked)
    assert found.scores["english_accuracy"].value == pytest.approx(share)
    half = english.score("search", [Completion("7", 1, "stop")] * 9, first=9)
    assert half.scores["english_accuracy"].n_total == 9


def test_a_table_shows_it_where_a_study_has_it() -> None:
    assert targets.shown(["accuracy", "english_accuracy"])["english_accuracy"] == "English"
    assert "english_accuracy" not in targets.shown(["accuracy"])
