"""A whole study, judged once: nothing writes into it."""

from __future__ import annotations

import pytest

from search.report.material import Material
from tests.search.report.studies import many, whole


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return whole(tmp_path_factory.mktemp("report") / "whole")


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A study of 40 swaps that is running, without held-out scores."""
    return Material.of(many(tmp_path_factory.mktemp("report") / "many", 40), running=True)
