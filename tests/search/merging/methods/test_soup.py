"""Which soups are another kind, and the soup of a pair."""

from __future__ import annotations

from dataclasses import replace

import pytest

from objectives.types import Decoding
from search.merging.methods.method import Recipe
from search.merging.methods.single import Single
from search.merging.methods.soup import METHOD, Soup, soup
from search.merging.methods.swap import LayerSwap
from search.merging.mix import linear

L = 4
M0, M1, L1 = "task/0", "task/1", "lang/1"


@pytest.mark.parametrize(
    ("recipe", "form"),
    [
        (Soup((M0, M1), (2.0, 0.0)), Single(M0)),
        (Soup((L1, M0), (1.0, 2.0)), soup(0, 1, L, 0.5 / 1.5)),
        (Soup((M1, M0), (1.0, 2.0)), Soup((M0, M1), (1.0, 0.5))),
        (Soup((L1, M1, M0), (3, 3, 3)), Soup((M0, M1, L1), (1.0, 1.0, 1.0))),
    ],
)
def test_one_step(recipe: Soup, form: Recipe) -> None:
    """Where it stays or which kind it is handed on to; the decoding goes along."""
    assert METHOD.canonical(recipe, L) == form
    warm = Decoding(temperature=0.7)
    assert METHOD.canonical(replace(recipe, decoding=warm), L) == replace(form, decoding=warm)


def test_weights_are_parts_of_their_sum() -> None:
    form = Soup((M0, M1), (1.0, 0.25))
    assert METHOD.mix(form, 2, L) == METHOD.mix(form, None, L) == linear([(M0, 0.8), (M1, 0.2)])
    assert METHOD.label(form, form, L) == ["soup", "m0", ".80", "m1", ".20"]


def test_a_pair_is_one_transition_zone() -> None:
    swap = LayerSwap(0, (1, 2), 0, 0, L, 0, 0.75, 0.25, non_layer="weighted")
    assert soup(0, (1, 2), L, 0.25) == swap
