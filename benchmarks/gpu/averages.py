"""Weighted averages in one kernel: the CPU's bits, and how fast they are made from GPU memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from benchmarks.gpu.step import Finding, Given, speed
from search.engine.average import DTYPES, average_into, kernel_for
from search.engine.staging import Sizes
from search.merging.arithmetic import store
from search.merging.blocks import fused_sum

COUNTS = (2, 3, 9)
"""Sources: of a swap, of a soup of three, of more than any pair of groups has had."""
SHARE = 0.8
"""Of the rate at which the device copies within its memory."""


def run(given: Given) -> Iterator[Finding]:
    """Odd lengths in every dtype; then pieces as large as a rewrite's."""
    used = all(kernel_for(given.device, dtype) is not None for dtype in DTYPES)
    passed = None if given.rehearse else used
    yield Finding("averages are made in one kernel", str(used), "True on a GPU", passed)
    for dtype in DTYPES:
        different = sum(_different(given, dtype, count) for count in COUNTS)
        yield Finding(
            f"averages of {str(dtype).removeprefix('torch.')}: elements that differ from the CPU's",
            str(different),
            "0",
            different == 0,
        )
    yield from _rates(given)


def averaged(
    parts: Sequence[torch.Tensor], shares: Sequence[float], target: torch.Tensor
) -> torch.Tensor:
    """As a rewrite makes it."""
    if not average_into(parts, shares, target):
        by_torch(parts, shares, target)
    return target


def by_torch(parts: Sequence[torch.Tensor], shares: Sequence[float], target: torch.Tensor) -> None:
    """In several passes."""
    merged = fused_sum([part.float() for part in parts], shares)
    store(merged.view(target.shape), parts[0].dtype, target)


def _shares(count: int) -> list[float]:
    return [(i + 1) / sum(range(1, count + 1)) for i in range(count)]


def _different(given: Given, dtype: torch.dtype, count: int) -> int:
    """Elements, of a plain target and of one whose rows lie apart."""
    rows, width = (3, 11) if given.rehearse else (4099, 2049)
    generator = torch.Generator().manual_seed(count)
    here = [torch.randn(rows * width, generator=generator).to(dtype) for _ in range(count)]
    there = [part.to(given.device) for part in here]
    expected = averaged(here, _shares(count), torch.empty(rows, width, dtype=dtype))
    apart = torch.zeros(rows, width + 7, dtype=dtype, device=given.device)[:, 3 : 3 + width]
    targets = torch.empty(rows, width, dtype=dtype, device=given.device), apart
    whole = torch.int32 if dtype == torch.float32 else torch.int16
    return sum(
        int((averaged(there, _shares(count), t).cpu().view(whole) != expected.view(whole)).sum())
        for t in targets
    )


def _rates(given: Given) -> Iterator[Finding]:
    """Bytes that are read and written a second; more than the device's caches hold."""
    block, many = (2**12, 2) if given.rehearse else (Sizes().block, 16)
    shape = max(COUNTS) + 1, many * block
    held = torch.randn(shape, device=given.device).to(torch.bfloat16)
    best = 2 * held[0].nbytes / given.timed(lambda: held[0].copy_(held[1]))
    yield speed("copy within the device", best, None, given)
    ways: dict[str, tuple[Callable[..., object], int, float | None]] = {
        "at once": (averaged, 1, SHARE * best),
        "in a rewrite's pieces": (averaged, many, None),
        "in a rewrite's pieces, by torch alone": (by_torch, many, None),
    }
    for count in COUNTS:
        for title, (way, pieces, goal) in ways.items():
            rows = held[: count + 1].view(count + 1, pieces, -1).unbind(1)

            def once(count: int = count, way: Any = way, rows: Any = rows) -> None:
                for target, *parts in rows:
                    way(parts, _shares(count), target)

            rate = (count + 1) * held[0].nbytes / given.timed(once)
            yield speed(f"average of {count} sources {title}", rate, goal, given)
