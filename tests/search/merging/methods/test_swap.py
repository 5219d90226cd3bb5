"""What a layer swap of one make is, and its shares layer by layer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from objectives.types import Decoding
from search.merging.methods.common import Average
from search.merging.methods.method import Recipe
from search.merging.methods.swap import METHOD, LayerSwap, clip
from search.merging.mix import Mix, Term, linear

L = 4
SWAP = LayerSwap(0, 1, 1, 1, 1, 0, 0.3, 0.7)


@pytest.mark.parametrize(
    ("recipe", "form"),
    [
        (LayerSwap(0, 1, 4, 0, 0, 0, non_layer="lang"), Average(("lang/1",), (1.0,))),
        (LayerSwap(0, 1, 0, 0, 0, 0, non_layer="task"), Average(("task/0",), (1.0,))),
        (
            LayerSwap((1, 0), 1, 0, 0, 4, 0),
            Average(("task/0", "task/1", "lang/1"), (0.25, 0.25, 0.5)),
        ),
        (replace(SWAP, w_task=3.0, w_lang=7.0), SWAP),
        (replace(SWAP, w_task=0.0), LayerSwap(0, 1, 2, 1, 0, 0)),
        (replace(SWAP, ramp="linear"), replace(SWAP, w_task=0.5, w_lang=0.5)),
    ],
)
def test_one_step(recipe: LayerSwap, form: Recipe) -> None:
    """Where it stays or which kind it is handed on to; the decoding goes along."""
    assert METHOD.canonical(recipe, L) == form
    warm = Decoding(temperature=0.7)
    assert METHOD.canonical(replace(recipe, decoding=warm), L) == replace(form, decoding=warm)


def test_mixes() -> None:
    found = [METHOD.mix(SWAP, layer, L) for layer in range(L)]
    task, lang = linear([("task/0", 1.0)]), linear([("lang/1", 1.0)])
    both = Mix("linear", (Term("task/0", 1 - 0.7), Term("lang/1", 0.7)))
    assert found == [lang, both, task, lang]
    assert METHOD.mix(SWAP, None, L) == linear([("task/0", 0.5), ("lang/1", 0.5)])
    assert METHOD.mix(replace(SWAP, non_layer="base"), None, L) == linear([("base", 1.0)])


def test_experts() -> None:
    groups = replace(SWAP, task=(0, 2))
    assert METHOD.sources(groups) == ("task/0", "task/2", "lang/1")
    assert (groups.pair, groups.lang_source) == ("m0+2-l1", "lang/1")


def test_clip_gives_the_lower_transition_the_room() -> None:
    assert clip(LayerSwap(0, 0, 1, 1, 2, 2), 5) == LayerSwap(0, 0, 1, 1, 2, 1)
    assert clip(LayerSwap(0, 0, 2, 2, 2, 2), 4) == LayerSwap(0, 0, 2, 2, 0, 0)
