"""SLERP: its t layer by layer, and when it is a layer swap."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from objectives.types import Decoding
from search.merging.arithmetic import combine
from search.merging.methods.layerwise import Layerwise
from search.merging.methods.method import Recipe
from search.merging.methods.slerp import METHOD, Slerp
from search.merging.mix import Mix, Term, linear

L = 4


@pytest.mark.parametrize(
    ("recipe", "form"),
    [
        (Slerp(0, 1, (1.0, 0.0, 0.0, 0.0), 0.0), Layerwise(0, 1, (1.0, 0.0, 0.0, 0.0), "task")),
        (Slerp(0, 1, (0.0, 1.0, 1.0, 0.0), 0.0), Layerwise(0, 1, (0.0, 1.0, 1.0, 0.0), "task")),
        (Slerp(0, 1, (0.5, 0.5)), Slerp(0, 1, (0.5,), 0.5)),
    ],
)
def test_one_step(recipe: Slerp, form: Recipe) -> None:
    """Where it stays or which kind it is handed on to; the decoding goes along."""
    assert METHOD.canonical(recipe, L) == form
    warm = Decoding(temperature=0.7)
    assert METHOD.canonical(replace(recipe, decoding=warm), L) == replace(form, decoding=warm)


@pytest.mark.parametrize(
    ("t", "layers"),
    [
        ((0.3,), (0.3, 0.3, 0.3, 0.3)),
        ((0.0, 1.0), (0.0, 0.333333, 0.666667, 1.0)),
        ((0.0, 0.9, 0.0), (0.0, 0.6, 0.6, 0.0)),
    ],
)
def test_t_reaches_every_layer(t: tuple[float, ...], layers: tuple[float, ...]) -> None:
    assert Slerp(0, 1, t).layers(4) == layers
    assert Slerp(0, 1, t[:1]).layers(1) == t[:1]


def test_ends_are_copies() -> None:
    form = Slerp(0, 1, (0.0, 0.5, 0.5, 1.0), 0.25)
    mixes = [METHOD.mix(form, layer, L) for layer in (0, 3)]
    assert mixes == [linear([("task/0", 1.0)]), linear([("lang/1", 1.0)])]
    assert METHOD.mix(form, None, L).sources == ("task/0", "lang/1")


def test_parallel_tensors_are_interpolated_linearly() -> None:
    one = torch.tensor([1.0, 2.0, 3.0])
    mix = Mix("slerp", (Term("task/0", 0.75), Term("lang/0", 0.25)), base="")
    assert torch.equal(combine(mix, {"task/0": one, "lang/0": 3 * one}, "x"), 1.5 * one)
