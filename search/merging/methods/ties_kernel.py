"""TIES of a chunk in compiled loops: the bits of torch's operations in a seventh of their time.

Owns the loops, which are compiled once in a process and for each number of experts; that takes
seconds. Every operation is float32 and rounded by itself, in the order of
`search.merging.methods.ties`. Knows nothing of how thresholds are found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import torch

PIECE = 1024
"""Elements at a time: what is kept of them stays in the nearest cache."""

_loops = numba.njit(nogil=True, error_model="numpy")


def equals(parts: Sequence[torch.Tensor], thresholds: torch.Tensor) -> torch.Tensor:
    """How many magnitudes of each task vector are its threshold.

    Args:
        parts: a chunk of the base and of every expert; float32, flat, of one size.
        thresholds: of the experts; float32, shape (n,).

    Returns:
        int64, shape (n,).
    """
    base, *experts = (part.numpy() for part in parts)
    pairs = zip(experts, thresholds.numpy(), strict=True)
    return torch.tensor([_count(base, expert, threshold) for expert, threshold in pairs])


def first_left_out(
    parts: Sequence[torch.Tensor], thresholds: torch.Tensor, found: torch.Tensor, room: torch.Tensor
) -> list[int]:
    """Where the first of each task vector is that equals its threshold and is not kept.

    Args:
        parts: as for `equals`.
        thresholds: likewise.
        found: what `equals` says.
        room: how many of them are kept, the first in memory; int64, shape (n,).

    Returns:
        Places in the chunk; its size where all are kept.
    """
    base, *experts = (part.numpy() for part in parts)
    return [
        base.size if n <= left else _end(base, *each, left)
        for *each, n, left in zip(
            experts, thresholds.numpy(), found.tolist(), room.tolist(), strict=True
        )
    ]


def merge(
    parts: Sequence[torch.Tensor],
    weights: Sequence[float],
    scale: float,
    thresholds: torch.Tensor,
    ends: Sequence[int],
) -> torch.Tensor:
    """Trim, elect, average, add to the base.

    Args:
        parts: as for `equals`.
        weights: of the experts.
        scale: factor of the merged task vector.
        thresholds: smallest magnitude that is kept of each task vector; float32, shape (n,).
        ends: what `first_left_out` says.

    Returns:
        The merged chunk, float32.
    """
    merged = torch.empty_like(parts[0])
    arrays = tuple(part.numpy() for part in parts)
    numbers = np.array(weights, np.float32), np.float32(scale), thresholds.numpy(), np.array(ends)
    _merge(arrays, *numbers, merged.numpy())
    return merged


@_loops  # type: ignore[untyped-decorator]
def _count(base: Any, expert: Any, threshold: Any) -> Any:
    found = 0
    for i in range(base.size):
        found += abs(expert[i] - base[i]) == threshold
    return found


@_loops  # type: ignore[untyped-decorator]
def _end(base: Any, expert: Any, threshold: Any, room: Any) -> Any:
    for i in range(base.size):
        if abs(expert[i] - base[i]) == threshold:
            if room == 0:
                return i
            room -= 1
    return base.size


@_loops  # type: ignore[untyped-decorator]
def _trim(base: Any, expert: Any, least: Any, weight: Any, row: Any) -> None:
    for i in range(base.size):
        delta = expert[i] - base[i]
        row[i] = delta * np.float32(abs(delta) >= least) * weight


@_loops  # type: ignore[untyped-decorator]
def _merge(parts: Any, weights: Any, scale: Any, thresholds: Any, ends: Any, merged: Any) -> None:
    """One operation after the other; `x < 0` is False of NaN and of -0, as torch's `clamp` is."""
    zero, least_weight, n = np.float32(0), weights.min(), len(weights)
    above = np.nextafter(thresholds, np.float32(np.inf))
    rows, signs = np.empty((n, PIECE), np.float32), np.empty(PIECE, np.float32)
    ones, votes = np.ones(PIECE, np.float32), np.empty(PIECE, np.float32)
    for start in range(0, merged.size, PIECE):
        out, base = merged[start : start + PIECE], parts[0][start : start + PIECE]
        size = out.size
        for k in range(n):
            expert, end = parts[k + 1][start : start + PIECE], max(ends[k] - start, 0)
            _trim(base[:end], expert[:end], thresholds[k], weights[k], rows[k])
            _trim(base[end:], expert[end:], above[k], weights[k], rows[k, end:])
        signs[:size] = rows[0, :size]
        for k in range(1, n):
            row = rows[k]
            for i in range(size):
                signs[i] += row[i]
        for i in range(size):
            signs[i] = math.copysign(ones[i], signs[i])
        votes[:size] = zero
        for k in range(n):
            row, weight = rows[k], weights[k]
            for i in range(size):
                agreeing = row[i] * signs[i]
                agreeing = zero if agreeing < zero else agreeing
                row[i] = agreeing
                votes[i] += weight if agreeing > zero else zero
        total = rows[0]
        for k in range(1, n):
            row = rows[k]
            for i in range(size):
                total[i] += row[i]
        for i in range(size):
            weight = least_weight if votes[i] < least_weight else votes[i]
            out[i] = total[i] / weight * signs[i] * scale + base[i]
