"""An answer that other weights had a part in is found."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from search.checkpoints.family import Family, fit
from search.common.errors import EngineDeadError
from search.engine.versions import CHANGING, WeightVersion, label
from search.merging.recipe import LayerSwap, Single


def answer(*versions: str, tokens: int = 2) -> Any:
    spans = [SimpleNamespace(version=version) for version in versions]
    return SimpleNamespace(token_ids=[0] * tokens, weight_versions=spans)


def output(*answers: Any) -> Any:
    return SimpleNamespace(outputs=list(answers))


def versioned() -> WeightVersion:
    found = WeightVersion(SimpleNamespace(set_weight_version=lambda version: None))
    found.say("a")
    return found


def test_the_loaded_weights_answers_pass() -> None:
    nothing = SimpleNamespace(token_ids=[], weight_versions=[])
    beams = SimpleNamespace(sequences=[])
    versioned().check([output(answer("a"), answer("a")), output(nothing), beams])


@pytest.mark.parametrize(
    "found",
    [
        answer("b"),
        answer("a", "b"),
        answer(CHANGING, "a"),
        answer(),
        SimpleNamespace(token_ids=[1], weight_versions=None),
    ],
)
def test_other_weights_are_found(found: Any) -> None:
    with pytest.raises(EngineDeadError, match="had a part in an answer"):
        versioned().check([output(answer("a")), output(answer("a"), found)])


def test_an_older_vllm_says_nothing() -> None:
    found = WeightVersion(SimpleNamespace())
    found.say("a")
    assert not found.known
    found.check([SimpleNamespace(outputs=[SimpleNamespace(token_ids=[1])])])


def test_a_label_is_of_the_weights(tiny_llama: Family) -> None:
    family = fit(tiny_llama.sources("te"), check_finite=False)
    swap = family.plan(LayerSwap(0, 1, 1, 1, 1, 0))
    assert label(swap) == label(dict(reversed(swap.items())))
    assert len({label(swap), label(family.plan(Single("base"))), CHANGING}) == 3
