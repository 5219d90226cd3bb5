"""The Triton kernel of weighted averages: reads each source once, writes the parameter once.

Owns the kernel and its launch. When it is used is `search.engine.average`'s. Knows nothing of
merges or of vLLM.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl

BLOCK = 2048
"""Elements of each program: 16 for each of its 128 threads."""
DIMENSIONS = 3
"""Of the places that are written to, once neighbouring ones have been joined."""


@triton.jit  # type: ignore[untyped-decorator]
def _kernel(  # type: ignore[no-untyped-def]
    sources,
    coefficients,
    out,
    count,
    size_1,
    size_2,
    stride_0,
    stride_1,
    stride_2,
    PLAIN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = place < count
    total = tl.load(sources[0] + place, there).to(tl.float32) * coefficients[0]
    for i in tl.static_range(1, len(sources)):
        part = tl.load(sources[i] + place, there).to(tl.float32)
        total = tl.fma(part, coefficients[i], total)
    if PLAIN:
        goal = out + place
    else:
        row = place // size_2
        goal = out + (
            (row // size_1).to(tl.int64) * stride_0
            + (row % size_1).to(tl.int64) * stride_1
            + (place % size_2).to(tl.int64) * stride_2
        )
    tl.store(goal, total.to(sources[0].dtype.element_ty), there)


def average(
    parts: Sequence[torch.Tensor], coefficients: Sequence[float], target: torch.Tensor
) -> bool:
    """Write a weighted sum, with the bits of `search.merging.blocks.fused_sum`.

    The first product is rounded, each further one is added in one rounding: what Triton itself
    fuses where it may (`a * b + c`) is left alone. Rounded once to the sources' dtype, then as the
    target holds it.

    Args:
        parts: flat and contiguous, fewer than 2^31 elements each, of one dtype.
        coefficients: one for each part.
        target: written into: as many elements, of any dtype.

    Returns:
        False where the target's strides are too many for the kernel; nothing is written then.
    """
    dims = joined(target)
    if len(dims) > DIMENSIONS:
        return False
    plain = all(stride == 1 for _, stride in dims[-1:]) and len(dims) < 2
    sizes, strides = zip(*[(1, 0)] * (DIMENSIONS - len(dims)), *dims, strict=True)
    count = parts[0].numel()
    with torch.cuda.device_of(target):  # type: ignore[no-untyped-call]
        _kernel[(triton.cdiv(count, BLOCK),)](
            tuple(parts),
            tuple(map(float, coefficients)),
            target,
            count,
            *sizes[1:],
            *strides,
            PLAIN=plain,
            BLOCK=BLOCK,
            enable_fp_fusion=False,
        )
    return True


def joined(tensor: torch.Tensor) -> list[tuple[int, int]]:
    """Size and stride of each dimension; those that follow one another in memory are one."""
    found: list[tuple[int, int]] = []
    for size, stride in zip(tensor.size(), tensor.stride(), strict=True):
        if size == 1:
            continue
        if found and found[-1][1] == size * stride:
            found[-1] = found[-1][0] * size, stride
        else:
            found.append((size, stride))
    return found
