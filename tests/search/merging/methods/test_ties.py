"""TIES: who is trimmed, who wins, and when it is task arithmetic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from objectives.types import Decoding
from search.merging import arithmetic
from search.merging.arithmetic import combine
from search.merging.blocks import EVERY, MissedError
from search.merging.methods import ties
from search.merging.methods.method import Recipe
from search.merging.methods.task_arithmetic import TaskArithmetic
from search.merging.methods.ties import METHOD, Ties
from search.merging.mix import Mix, Term
from tests.search.merging.test_arithmetic import trimmed

L = 4
PAIR = ("task/0", "lang/1")


@pytest.mark.parametrize(
    ("recipe", "form"),
    [
        (Ties(PAIR, 0.5, (1.0, 1.0), 0.0), TaskArithmetic(PAIR[:1], (0.0,))),
        (Ties(PAIR, 1.0, (0.0, 1.0), 0.8), TaskArithmetic(PAIR[1:], (0.8,))),
        (Ties(PAIR, 0.5, (0.0, 1.0), 0.8), Ties(PAIR[1:], 0.5, (1.0,), 0.8)),
        (Ties(PAIR[::-1], 0.5, (2.0, 4.0), 1), Ties(PAIR, 0.5, (1.0, 0.5), 1.0)),
    ],
)
def test_one_step(recipe: Ties, form: Recipe) -> None:
    """Where it stays or which kind it is handed on to; the decoding goes along."""
    assert METHOD.canonical(recipe, L) == form
    warm = Decoding(temperature=0.7)
    assert METHOD.canonical(replace(recipe, decoding=warm), L) == replace(form, decoding=warm)


def test_ties_on_paper() -> None:
    """A worked example: what is trimmed, who wins, who is averaged."""
    base = torch.zeros(5)
    one = torch.tensor([4.0, -3.0, 2.0, -1.0, 0.5])
    two = torch.tensor([2.0, 4.0, -2.0, -5.0, 0.4])
    mix = Mix("ties", (Term("task/0", 1.0), Term("lang/0", 1.0)), density=0.8, scale=0.5)
    found = combine(mix, {"base": base, "task/0": one, "lang/0": two}, "x")
    # kept: one without its .5, two without its .4; elected: + + + - ; the third is a draw: +
    assert found.tolist() == [1.5, 2.0, 1.0, -1.5, 0.0]


def missed(*given: object) -> None:
    raise MissedError


@pytest.mark.parametrize("density", [0.01, 0.1, 0.25, 0.5, 0.999])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("way", ["sampled", "in full", "elsewhere"])
def test_trim_keeps_exactly_the_largest(
    dtype: torch.dtype, density: float, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where magnitudes repeat, as between bf16 weights, and over the borders of chunks.

    On a GPU by other operations, for which nothing is waited for; they are there on a CPU, too.
    """
    monkeypatch.setattr(ties, "is_here", lambda tensor: way != "elsewhere")
    monkeypatch.setitem(arithmetic.CHUNK, "cpu", 100)
    if way != "sampled":
        monkeypatch.setattr(ties, "_foretold", missed)
    random = torch.Generator().manual_seed(1)
    base = torch.randn(1003, generator=random).to(dtype)
    expert = (base.float() + 0.01 * torch.randn(1003, generator=random)).to(dtype)
    mix = Mix("ties", (Term("task/0", 1.0),), density=density)
    found = combine(mix, {"base": base, "task/0": expert}, "x")
    delta = expert.float() - base.float()
    if dtype == torch.bfloat16:
        assert delta.abs().unique().numel() < 500  # the case is the one that it should be
    expected = (base.float() + trimmed(delta, density)).to(dtype)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", ["even", "by rows", "few values", "nothing", "not finite"])
@pytest.mark.parametrize("density", [0.001, 0.2, 0.9])
def test_a_sample_changes_no_bit(
    kind: str, density: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it foretells the threshold, and where it misleads: then all is looked at."""
    monkeypatch.setitem(arithmetic.CHUNK, "cpu", 4096)
    random = torch.Generator().manual_seed(2)
    base = torch.randn(64 * EVERY, 512, generator=random)
    expert = base + 0.01 * torch.randn(base.shape, generator=random)
    if kind == "by rows":  # the sampled chunks, 8 rows each, have deltas of their own size
        expert = torch.where(torch.arange(len(base))[:, None] % (8 * EVERY) < 8, expert, 3 * base)
    elif kind == "few values":
        expert = base + (expert - base).mul_(50).round().div_(50)
    elif kind == "nothing":
        expert = base.clone()
    elif kind == "not finite":
        expert[3, :200], expert[-1, :9] = torch.inf, torch.nan
    seen: list[bool] = []
    foretold = ties._foretold

    def watched(*given: Any) -> Any:
        seen.append(False)
        found = foretold(*given)
        seen[-1] = True
        return found

    monkeypatch.setattr(ties, "_foretold", watched)
    tensors = {"base": base, "task/0": expert, "lang/0": base + 0.02 * (base - expert.flip(0))}
    mix = Mix("ties", (Term("task/0", 0.6), Term("lang/0", 0.4)), density=density)
    found = combine(mix, tensors, "x")
    if kind in ("even", "by rows") and density == 0.2:  # others need more than a small sample
        assert seen == [kind == "even"]
    monkeypatch.setattr(ties, "_foretold", missed)
    expected = combine(mix, tensors, "x")
    assert torch.equal(found.view(torch.int32), expected.view(torch.int32))
