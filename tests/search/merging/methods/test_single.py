"""A checkpoint as it is."""

from __future__ import annotations

import pytest

from search.merging.methods.single import METHOD, Single
from search.merging.mix import Mix, Term


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("base", ["base"]),
        ("task/3", ["math expert m3"]),
        ("lang/0", ["language expert l0"]),
        ("reference/joint", ["joint"]),
    ],
)
def test_every_layer_is_the_source(source: str, words: list[str]) -> None:
    recipe = Single(source)
    assert METHOD.canonical(recipe, 4) is recipe and METHOD.sources(recipe) == (source,)
    assert METHOD.mix(recipe, 0, 4) == METHOD.mix(recipe, None, 4)
    assert METHOD.mix(recipe, 0, 4) == Mix("linear", (Term(source, 1.0),))
    assert METHOD.label(recipe, recipe, 4) == words
