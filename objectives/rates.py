"""Pass rates as arithmetic on counts of outcomes.

Owns LPR, WPR and LCPR given how many responses ended in which outcome, on arrays of any leading
shape, so that one function gives the value and its ten thousand resamples. Knows no text.

Source: for-ai/language-confusion, compute_metrics.py, and arXiv 2406.20052, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Outcome(IntEnum):
    """How one response ended."""

    UNSCORED = 0
    """It has no line of at least five tokens: the benchmark leaves it out."""
    LINE_ERROR = 1
    """A line is in another language."""
    WORD_ERROR = 2
    """Every line is in the language, but an English word is among them."""
    PASS = 3


class Rates(NamedTuple):
    """Line-level, word-level and language confusion pass rate; shares, of equal shape."""

    lpr: NDArray[np.float64]
    wpr: NDArray[np.float64]
    lcpr: NDArray[np.float64]


def count_outcomes(outcomes: Sequence[Outcome], strata: Sequence[str]) -> NDArray[np.int64]:
    """Count outcomes in each stratum.

    Args:
        outcomes: one per response.
        strata: the source of each response.

    Returns:
        Counts of shape (strata, outcomes), strata in sorted order.
    """
    names = {name: row for row, name in enumerate(sorted(set(strata)))}
    counts = np.zeros((len(names), len(Outcome)), dtype=np.int64)
    np.add.at(counts, ([names[name] for name in strata], list(outcomes)), 1)
    return counts


def pass_rates(counts: NDArray[np.int64], wpr_applies: bool) -> Rates:
    """Compute the pass rates.

    Rates are taken in each stratum and then averaged over strata, as the benchmark's script does
    over sources; LCPR is that of the averages. As published, a stratum without a scored response
    has rate 1: coverage has to be looked at too.

    Args:
        counts: counts of shape (..., strata, outcomes).
        wpr_applies: whether the script is not Latin; if not, WPR is NaN and LCPR is LPR.

    Returns:
        Rates of shape (...).
    """
    scored = counts[..., Outcome.LINE_ERROR :].sum(axis=-1)
    line_ok = scored - counts[..., Outcome.LINE_ERROR]
    lpr = (1.0 - counts[..., Outcome.LINE_ERROR] / np.maximum(scored, 1)).mean(axis=-1)
    if not wpr_applies:
        return Rates(lpr, np.full_like(lpr, np.nan), lpr)
    wpr = (1.0 - counts[..., Outcome.WORD_ERROR] / np.maximum(line_ok, 1)).mean(axis=-1)
    return Rates(lpr, wpr, harmonic_mean(lpr, wpr))


def harmonic_mean(lpr: ArrayLike, wpr: ArrayLike) -> NDArray[np.float64]:
    """Return the harmonic mean of LPR and WPR, 2 LPR WPR / (LPR + WPR); 0 where both are 0."""
    line, word = np.asarray(lpr, dtype=np.float64), np.asarray(wpr, dtype=np.float64)
    both = line + word
    mean: NDArray[np.float64] = np.divide(
        2.0 * line * word, both, out=np.zeros_like(both), where=both > 0
    )
    return mean
