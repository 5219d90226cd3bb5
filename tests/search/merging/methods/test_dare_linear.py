"""DARE's random numbers and when it is another kind."""

from __future__ import annotations

import math

import pytest
import torch

from search.merging import arithmetic
from search.merging.arithmetic import combine
from search.merging.canonical import canonical
from search.merging.methods.dare_linear import Bernoulli, DareLinear
from search.merging.methods.method import Recipe
from search.merging.methods.single import Single
from search.merging.methods.task_arithmetic import TaskArithmetic
from search.merging.mix import Mix, Term

PAIR = ("task/0", "lang/1")


def test_dare_numbers_are_splitmix64() -> None:
    """Against plain whole numbers (Steele, Lea and Flood 2014, figure 16)."""
    series = Bernoulli(0.3, "seed tensor")
    state, word, expected = series._start % 2**64, 2**64 - 1, []
    for _ in range(50):
        state = (state + 0x9E3779B97F4A7C15) & word
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & word
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & word
        z ^= z >> 31
        expected.append((z - 2**64 if z >= 2**63 else z) < round(0.3 * 2**64) - 2**63)
    found = torch.cat([series(torch.zeros(20), 0), series(torch.zeros(30), 20)])
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("recipe", "form"),
    [
        (DareLinear(PAIR, 1e-9, (0.5, 1.0), 3), DareLinear(PAIR, 1e-6, (0.5, 1.0), 3)),
        (DareLinear(PAIR[::-1], 0.5, (1, 0.5)), DareLinear(PAIR, 0.5, (0.5, 1.0))),
        (DareLinear(PAIR, 0.5, (0.0, 1.0), 3), DareLinear(("lang/1",), 0.5, (1.0,), 3)),
        (DareLinear(PAIR, 0.9999999, (0.5, 1.0), 3), TaskArithmetic(PAIR, (0.5, 1.0))),
        (DareLinear(PAIR, 0.5, (0.0, 0.0), 3), Single("base")),
    ],
)
def test_canonical(recipe: DareLinear, form: Recipe) -> None:
    assert canonical(recipe, 4) == form


def test_dare_keeps_its_share_and_rescales_it() -> None:
    base, expert = torch.zeros(100_000), torch.ones(100_000)
    mix = Mix("dare_linear", (Term("task/0", 0.5),), density=0.2, seed=1)
    found = combine(mix, {"base": base, "task/0": expert}, "x")
    assert set(found.tolist()) == {0.0, 2.5}  # scale / density
    kept = (found > 0).float().mean().item()
    assert abs(kept - 0.2) < 5 * math.sqrt(0.2 * 0.8 / 100_000)


def masks(seed: int, name: str, n: int = 1000) -> torch.Tensor:
    mix = Mix("dare_linear", (Term("task/0", 1.0), Term("lang/0", 1.0)), density=0.5, seed=seed)
    sources = {"base": torch.zeros(n), "task/0": torch.ones(n), "lang/0": 10 * torch.ones(n)}
    return combine(mix, sources, name)


def test_dare_hangs_on_seed_name_and_expert_only(monkeypatch: pytest.MonkeyPatch) -> None:
    first = masks(1, "x")
    monkeypatch.setitem(arithmetic.CHUNK, "cpu", 7)
    assert torch.equal(masks(1, "x"), first)
    assert not torch.equal(masks(2, "x"), first)
    assert not torch.equal(masks(1, "y"), first)
    assert set(first.tolist()) == {0.0, 2.0, 20.0, 22.0}  # the experts are thinned independently
