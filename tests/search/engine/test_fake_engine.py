"""The fake engine keeps the contract; tests/e2e/test_engine_contract.py holds vLLM to the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from search.checkpoints.family import Family, FittedFamily, fit
from search.common.errors import EngineDeadError
from search.engine.contract import LiveEngine, NonFinite
from tests.engine_options import engine_options
from tests.fake_engine import FakeEngine, Faults
from tests.search.engine.contract import CONTRACT, REQUESTS


@pytest.fixture
def family(tiny_llama: Family) -> FittedFamily:
    return fit(tiny_llama.sources("te"), check_finite=False)


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_contract(check: Callable[[LiveEngine, FittedFamily], None], family: FittedFamily) -> None:
    check(FakeEngine(family, engine_options()), family)


def test_faults_happen_once(family: FittedFamily, tmp_path: Path) -> None:
    engine = FakeEngine(family, engine_options(), Faults(tmp_path))
    (tmp_path / "dead").touch()
    with pytest.raises(EngineDeadError):
        engine.generate(REQUESTS)
    assert isinstance(engine.generate(REQUESTS), list)
    assert isinstance(FakeEngine(family, engine_options(), Faults(tmp_path)), FakeEngine)


def test_not_finite(family: FittedFamily) -> None:
    engine = FakeEngine(family, engine_options(), Faults(not_finite=1))
    assert isinstance(engine.generate(REQUESTS), NonFinite)
