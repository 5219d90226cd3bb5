"""When the kernel of averages is used: with a stand-in for it on the CPU."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import pytest
import torch

from search.engine import average
from search.engine.average import average_into
from search.engine.pieces import Wanted, merge_pieces
from search.engine.staging import Sizes
from search.engine.views import contiguous
from search.merging.blocks import fused_sum
from search.merging.mix import linear

SHARES = (0.5, 0.25)


class StandIn:
    """Makes averages as the kernel must, or spoils them; counts."""

    def __init__(self, error: Exception | None = None, plus: float = 0.0) -> None:
        self.error, self.plus, self.calls = error, plus, 0

    def average(
        self, parts: Sequence[torch.Tensor], shares: Sequence[float], target: torch.Tensor
    ) -> bool:
        self.calls += 1
        if self.error:
            raise self.error
        made = fused_sum([part.float() for part in parts], shares) + self.plus
        target.copy_(made.to(parts[0].dtype).view(target.shape))
        return True


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The CPU is taken for a device of Triton's; what was found out is forgotten."""
    monkeypatch.setattr(average, "DEVICES", ("cpu",))
    average.kernel_for.cache_clear()
    yield
    average.kernel_for.cache_clear()


def standing_in(patch: pytest.MonkeyPatch, kernel: StandIn) -> StandIn:
    module = SimpleNamespace(average=kernel.average)
    patch.setitem(sys.modules, "search.engine.triton_average", module)
    return kernel


def parts(dtype: torch.dtype = torch.bfloat16, size: int = 12) -> list[torch.Tensor]:
    return [torch.arange(1.0, 1 + size).to(dtype), torch.ones(size, dtype=dtype)]


def test_a_kernel_that_works_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = standing_in(monkeypatch, StandIn())
    for calls in (2, 3):
        target = torch.zeros(12, dtype=torch.bfloat16)
        assert average_into(parts(), SHARES, target)
        assert target.tolist() == [0.5 * n + 0.25 for n in range(1, 13)]
        assert kernel.calls == calls


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (StandIn(RuntimeError("Failed to find C compiler")), "Failed to find C compiler"),
        (StandIn(plus=1.0), "not the CPU's"),
        (None, "ModuleNotFoundError"),
    ],
)
def test_a_kernel_that_does_not_work_is_left_alone(
    kernel: StandIn | None,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Said once, and nothing is written."""
    if kernel is None:
        monkeypatch.setitem(sys.modules, "search.engine.triton_average", None)  # as if not there
    else:
        standing_in(monkeypatch, kernel)
    target = torch.full((12,), 7.0, dtype=torch.bfloat16)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert not average_into(parts(), SHARES, target)
    assert (target == 7).all()
    (record,) = caplog.records
    assert said in record.getMessage()


@pytest.mark.parametrize("name", ["double", "double target", "strided", "mixed", "empty"])
def test_what_the_kernel_is_not_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = standing_in(monkeypatch, StandIn())
    target = torch.zeros(12, dtype=torch.float64 if name == "double target" else torch.bfloat16)
    given = {
        "double": parts(torch.float64),
        "double target": parts(),
        "strided": [part[::2] for part in parts(size=24)],
        "mixed": [parts()[0], parts(torch.float16)[1]],
        "empty": parts(size=0),
    }[name]
    assert not average_into(given, SHARES, target[: len(given[0])])
    assert kernel.calls == 0


def test_a_cpu_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = standing_in(monkeypatch, StandIn())
    monkeypatch.setattr(average, "DEVICES", ("cuda",))
    assert not average_into(parts(), SHARES, torch.zeros(12))
    assert kernel.calls == 0


@pytest.mark.parametrize("works", [True, False])
def test_a_piece_is_written_in_either_way(works: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into all the parameters that it goes to."""
    kernel = standing_in(monkeypatch, StandIn(plus=0.0 if works else 1.0))
    whole = contiguous((3, 4))
    targets = [torch.zeros(12, dtype=torch.bfloat16), torch.zeros(12, dtype=torch.float32)]
    wanted = Wanted("w", 12, 4, torch.bfloat16, [(whole, whole, target) for target in targets])
    mix = linear(zip(("task/0", "lang/0"), SHARES, strict=True))
    (piece,) = merge_pieces(mix, wanted, Sizes())
    piece.use(parts())
    for target in targets:
        assert target.tolist() == [0.5 * n + 0.25 for n in range(1, 13)]
    assert kernel.calls == (3 if works else 1)
