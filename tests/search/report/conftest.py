"""A whole study, judged once: nothing writes into it."""

from __future__ import annotations

import pytest

from search.report.material import Material
from tests.search.report.studies import by_halves, many, whole


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return whole(tmp_path_factory.mktemp("report") / "whole")


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A study of 40 swaps that is running, without held-out scores."""
    return Material.of(many(tmp_path_factory.mktemp("report") / "many", 40), running=True)


@pytest.fixture(scope="session")
def wider(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A study of swaps by halves, and of one layer swap."""
    return Material.of(by_halves(tmp_path_factory.mktemp("report") / "wider"), running=True)
