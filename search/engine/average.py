"""Weighted averages straight into a parameter, in one kernel on a GPU where that can be had.

Owns when the kernel is used: where Triton is installed and works, which is tried once. What torch
makes in several passes is the reference, and what is left. Knows nothing of merges or of Triton.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache

import torch

from search.merging.blocks import fused_sum

logger = logging.getLogger(__name__)

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
DEVICES = ("cuda",)
"""Kinds of devices that Triton compiles for."""
LARGEST = 2**30
"""Elements; places are counted in 32 bits."""

Kernel = Callable[[Sequence[torch.Tensor], Sequence[float], torch.Tensor], bool]
"""`search.engine.triton_average.average`."""


def average_into(
    parts: Sequence[torch.Tensor], coefficients: Sequence[float], target: torch.Tensor
) -> bool:
    """Write a weighted sum, rounded once to the parts' dtype; bit for bit what torch makes.

    Args:
        parts: equal parts of the sources, flat, of one dtype.
        coefficients: one for each part.
        target: written into: as many elements, of any strides and dtype.

    Returns:
        False where it is torch's turn; nothing is written then.
    """
    first = parts[0]
    fits = first.dtype in DTYPES and target.dtype in DTYPES and 0 < first.numel() <= LARGEST
    if not fits or not all(p.is_contiguous() and p.dtype == first.dtype for p in parts):
        return False
    kernel = kernel_for(first.device, first.dtype)
    return kernel is not None and kernel(parts, coefficients, target)


@cache
def kernel_for(device: torch.device, dtype: torch.dtype) -> Kernel | None:
    """The kernel, if it makes the CPU's bits of a small average; says why it is not used."""
    if device.type not in DEVICES:
        return None
    parts = torch.arange(3000.0).sin().view(3, 1000).to(dtype)
    shares = (0.2, 0.5, 0.3)
    expected = fused_sum([part.float() for part in parts], shares).to(dtype)
    found = torch.zeros_like(expected, device=device)
    try:
        from search.engine.triton_average import average

        average([part.to(device) for part in parts], shares, found)
        right = torch.equal(found.cpu(), expected)
        problem = "the kernel's averages are not the CPU's"
    except Exception as error:  # no Triton, no compiler, a GPU that it does not know
        right, problem = False, repr(error)
    if right:
        return average
    logger.warning("averages on the GPU are made in several passes: %s", problem)
    return None
