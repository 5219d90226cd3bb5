"""The registry: which kinds there are, and that reading it costs nothing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, fields, is_dataclass

import pytest

from search.common.errors import RecipeError
from search.merging.methods.linear import LINEAR
from search.merging.methods.registry import METHODS, arithmetic_of, kind_of, method_of, rivals
from search.merging.plan import plan
from search.merging.recipe import Single
from search.results.choose import SOUP
from tests.search.merging.test_plan import names


@dataclass(frozen=True)
class Unknown:
    decoding: None = None


def test_kinds_are_those_of_the_records() -> None:
    kinds = ["soup", "task_arithmetic", "ties", "dare_linear", "slerp"]
    assert list(METHODS) == ["swap", "components", "layerwise", "single", *kinds]
    assert list(rivals()) == kinds
    roles = ["best soup", "best task arithmetic", "best TIES", "best DARE", "best SLERP"]
    assert [rival.role for rival in rivals().values()] == roles and roles[0] == SOUP


@pytest.mark.parametrize("kind", METHODS)
def test_a_kind_has_one_frozen_class(kind: str) -> None:
    cls = METHODS[kind].recipe
    assert is_dataclass(cls) and cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    found = {field.name for field in fields(cls)}
    assert found >= {"decoding", *METHODS[kind].optional}
    assert [other for other, method in METHODS.items() if method.recipe is cls] == [kind]


@pytest.mark.parametrize("kind", [kind for kind, method in METHODS.items() if method.arithmetic])
def test_mixes_are_named_after_their_kind(kind: str) -> None:
    """Else their arithmetic would not be found; the linear ones belong to no kind."""
    rival = METHODS[kind].rival
    assert rival is not None
    numbers = {name: values[1] for name, values in rival.axes.items()}
    merged = plan(rival.recipe(0, 0, 4, numbers), names(4), 4)
    assert {mix.method for mix in merged.values()} == {kind}
    assert arithmetic_of(kind) is METHODS[kind].arithmetic


def test_what_is_not_there() -> None:
    assert arithmetic_of("linear") is LINEAR
    for name in ("sum", "swap"):
        with pytest.raises(RecipeError, match=f"no arithmetic is known for a mix .* '{name}'"):
            arithmetic_of(name)
    with pytest.raises(RecipeError, match=r"Unknown\(decoding=None\) is of no kind"):
        kind_of(Unknown())
    assert method_of(Single("base")) is METHODS["single"]


def test_importing_loads_no_heavy_library() -> None:
    code = (
        "import sys, search.merging.plan, search.merging.recipe, search.merging.methods.registry\n"
        "print(sorted({'torch', 'numpy', 'optuna', 'vllm', 'pydantic'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
