"""TIES in compiled loops: torch's bits, whatever the numbers are."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from search.merging import arithmetic
from search.merging.arithmetic import combine
from search.merging.methods import ties, ties_kernel
from search.merging.mix import Mix, Term

pytestmark = pytest.mark.slow  # to compile takes seconds

CHUNK = 3000
"""Elements of a chunk: some pieces of the loops and a part of one."""


def tensors(kind: str) -> dict[str, torch.Tensor]:
    """Base and two experts of ten chunks, of which the last is short."""
    random = torch.Generator().manual_seed(3)

    def change() -> torch.Tensor:
        return 0.01 * torch.randn(9 * CHUNK + 17, generator=random)

    base, one, two = torch.randn(9 * CHUNK + 17, generator=random), change(), change()
    if kind == "few values":
        one, two = one.mul(50).round().div(50), two.mul(200).round().div(200)
        base = base.mul(64).round().div(64)  # so that differences are equal where changes are
    elif kind == "zeros":
        base[::3], one[::2], two[::5] = -0.0, -0.0, -0.0
    elif kind == "at odds":
        two = -one
    elif kind == "not finite":
        one[5], one[CHUNK], two[-1] = torch.inf, torch.nan, -torch.inf
    return {"base": base, "task/0": base + one, "lang/0": base + two}


@pytest.mark.parametrize("kind", ["few values", "zeros", "at odds", "not finite", "even"])
@pytest.mark.parametrize(
    ("experts", "density", "scale"),
    [
        ({"task/0": 1.0, "lang/0": 0.4}, 0.3, 1.0),
        ({"task/0": 0.7, "lang/0": 0.3}, 0.9, 0.8),
        ({"lang/0": 1.0}, 0.5, 1.2),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bits(
    kind: str,
    experts: dict[str, float],
    density: float,
    scale: float,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also over the borders of chunks, and where a chunk has more equals than are kept."""
    monkeypatch.setitem(arithmetic.CHUNK, "cpu", CHUNK)
    mix = Mix("ties", tuple(Term(*each) for each in experts.items()), density, scale)
    given = {name: tensor.to(dtype) for name, tensor in tensors(kind).items()}
    expected = combine(mix, given, "x")

    ends, left_out = list[int](), ties_kernel.first_left_out

    def watched(*asked: Any) -> list[int]:
        ends.extend(found := left_out(*asked))
        return found

    monkeypatch.setattr(ties_kernel, "first_left_out", watched)
    monkeypatch.setattr(ties, "LARGE", 0)
    monkeypatch.setattr(ties, "WINDOW", 2**30)  # nothing is missed
    found = combine(mix, given, "x")
    whole = torch.int32 if dtype == torch.float32 else torch.int16
    assert torch.equal(found.view(whole), expected.view(whole))
    assert len(ends) == 10 * len(experts)  # the loops have done it
    if kind == "few values" and dtype == torch.float32:
        assert any(0 < end < CHUNK for end in ends)
