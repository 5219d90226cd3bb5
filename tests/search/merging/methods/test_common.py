"""Small things that the kinds share, as tables."""

from __future__ import annotations

import pytest

from search.merging.methods.common import (
    pair_sources,
    parts,
    relative,
    rounded,
    rounded_density,
    shared,
    shared_scales,
    shares,
    short,
    used,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.5, ".50"), (1.0, "1.00"), (0, ".00"), (-0.25, "-.25"), (10.05, "10.05"), (0.999, "1.00")],
)
def test_short(number: float, text: str) -> None:
    assert short(number) == text


@pytest.mark.parametrize(
    ("experts", "numbers", "found"),
    [
        (("lang/1", "task/10", "task/2"), (1, 2, 3), (("task/2", "task/10", "lang/1"), (3, 2, 1))),
        (("task/0", "lang/0"), (4e-7, 1.0), (("lang/0",), (1.0,))),
        (("task/0",), (0.0,), ((), ())),
        (("task/0",), (-0.5,), (("task/0",), (-0.5,))),
    ],
)
def test_used(experts: tuple[str, ...], numbers: tuple[float, ...], found: object) -> None:
    assert used(experts, numbers) == found


def test_numbers() -> None:
    assert (rounded(1), rounded(1 / 3)) == (1.0, 0.333333) and isinstance(rounded(1), float)
    assert (rounded_density(1e-9), rounded_density(0.5)) == (1e-6, 0.5)
    assert relative([1.0, 4.0]) == [0.25, 1.0]
    assert shares([1.0, 3.0]) == [0.25, 0.75]


def test_a_pair_of_groups() -> None:
    assert pair_sources((0, 2), 1) == ("task/0", "task/2", "lang/1")
    assert shared((0, 2), 1, (0.5, 1.0)) == (0.25, 0.25, 1.0)
    assert shared_scales(0, (1, 2), {"scale_task": 0.4, "scale_lang": 1.0}) == (0.4, 0.5, 0.5)
    assert parts(("task/0", "lang/12"), (0.5, 1)) == ["m0", ".50", "l12", "1.00"]
