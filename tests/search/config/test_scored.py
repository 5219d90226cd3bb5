"""The objectives that a configuration means, built."""

from __future__ import annotations

import pytest

from objectives.errors import ObjectiveError
from search.config import compose
from search.config.scored import build_objectives, files


def test_tasks_come_first_then_the_language_then_others() -> None:
    asked = ["objective.task=[english,mgsm]", "objective.mgsm.search_items=7"]
    config = compose.load(asked, {"lang": "te"}).objective
    built = build_objectives(config, "te")
    assert list(built) == ["english", "mgsm", "lcpr"]
    assert len(built["mgsm"].requests("search")) == 7
    assert files(config) == {"words": None, "examples": None}


def test_an_objective_of_an_unknown_language() -> None:
    config = compose.load([], {"lang": "te"}).objective
    with pytest.raises(ObjectiveError, match="xyz"):
        build_objectives(config, "xyz")
