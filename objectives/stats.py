"""Intervals and paired comparisons.

Owns the statistics of shares: Wilson's interval, the exact McNemar test, the bootstrap of pass
rates. Knows no text, no language and no engine. All intervals are 95% and two-sided; everything
random is seeded, so that the same answers always give the same numbers.

Resampling n responses with replacement and counting outcomes is one multinomial draw, so ten
thousand resamples are one call and cost milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from objectives.rates import Outcome, harmonic_mean, pass_rates
from objectives.types import Score

RESAMPLES = 10_000
_Z = 1.959963984540054  # 97.5% point of the normal distribution


@dataclass(frozen=True)
class PairedDifference:
    """How much better `a` is than `b` on the same items.

    Attributes:
        difference: share of `a` minus share of `b`.
        low: lower end of the bootstrap interval of the difference.
        high: upper end.
        p_value: two-sided p-value of "no difference".
        n: items compared.
    """

    difference: float
    low: float
    high: float
    p_value: float
    n: int


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of a share of n items (Wilson 1927).

    Raises:
        ValueError: there is no item, or the share is outside [0, 1].
    """
    if n < 1 or not 0.0 <= share <= 1.0:
        raise ValueError(f"no interval for a share of {share} of {n} items")
    centre = share + _Z**2 / (2 * n)
    spread = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    scale = 1 + _Z**2 / n
    # rounding must not push the end past the share itself at 0 and 1
    return min(share, (centre - spread) / scale), max(share, (centre + spread) / scale)


def proportion(successes: int, n_scored: int, n_total: int) -> Score:
    """Return a share with Wilson's interval; without a scored item there is no value."""
    if n_scored == 0:
        return Score(None, None, None, 0, n_total)
    share = successes / n_scored
    return Score(share, *wilson(share, n_scored), n_scored, n_total)


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p-value of McNemar's test.

    Args:
        only_a: items that only `a` has right.
        only_b: items that only `b` has right.
    """
    if only_a + only_b == 0:
        return 1.0
    from scipy.stats import binomtest  # takes a second to import

    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue)


def paired_accuracy(a: Sequence[bool], b: Sequence[bool], seed: int = 0) -> PairedDifference:
    """Compare two models' right and wrong answers on the same items.

    Args:
        a: whether each item is right with the first model.
        b: the same items, in the same order, with the second.
        seed: seed of the resampling.

    Returns:
        The difference with a paired bootstrap interval and the exact McNemar p-value.

    Raises:
        ValueError: the two do not cover the same number of items, or none.
    """
    n = _paired_length(a, b)
    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, [only_a / n, only_b / n, (n - only_a - only_b) / n], RESAMPLES)
    low, high = _ends((drawn[:, 0] - drawn[:, 1]) / n)
    return PairedDifference((only_a - only_b) / n, low, high, mcnemar(only_a, only_b), n)


def paired_means(a: Sequence[float], b: Sequence[float], seed: int = 0) -> PairedDifference:
    """Compare the means of a number that both models have for the same items.

    Args:
        a: the number of each item with the first model.
        b: the same items, in the same order, with the second.
        seed: seed of the resampling.

    Returns:
        The difference with a paired bootstrap interval; its p-value is that of a test that turns
        the signs of the items' differences by chance, never below 1 / (RESAMPLES + 1).

    Raises:
        ValueError: the two do not cover the same number of items, or none.
    """
    n = _paired_length(a, b)
    apart = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    rng = np.random.default_rng(seed)
    drawn, turned = (np.empty(RESAMPLES) for _ in range(2))
    for place in range(RESAMPLES):  # one by one: items times resamples may not fit into memory
        drawn[place] = apart[rng.integers(n, size=n)].mean()
        turned[place] = (apart * rng.choice((-1.0, 1.0), size=n)).mean()
    low, high = _ends(drawn)
    found = float(apart.mean())
    as_far = int((np.abs(turned) >= abs(found) - 1e-12).sum())
    return PairedDifference(found, low, high, (1 + as_far) / (RESAMPLES + 1), n)


Table = NDArray[np.float64]
"""A part of a score: for each item its value with each model, then its weight; a row an item."""
Combine = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""What tasks' means of shape (tasks, ...) come to, of shape (...)."""


def average(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """The plain mean over tasks."""
    return np.asarray(means.mean(axis=0))


def mean_score(
    tasks: Sequence[Sequence[Table]], combine: Combine = average, seed: int = 0
) -> Score:
    """What weighted means over items come to, of parts of equal rank within each task.

    Args:
        tasks: the parts of each, tables of one model.
        combine: what the tasks' scores come to.
        seed: seed of the resampling.

    Returns:
        The score with a bootstrap's interval, resampled within each part, or with Wilson's where
        there is one part that is a share; without a value where a part has no item.
    """
    tables = [table for parts in tasks for table in parts]
    n = sum(map(len, tables))
    if not all(tasks) or not all(map(len, tables)) or not tables:
        return Score(None, None, None, 0, n)
    if len(tables) == 1 and set(tables[0][:, 1]) == {1.0} and set(tables[0][:, 0]) <= {0.0, 1.0}:
        return proportion(int(tables[0][:, 0].sum()), n, n)
    value, drawn = _resampled(tasks, combine, seed)
    return Score(float(value[0]), *_ends(drawn[:, 0]), n, n)


def paired_parts(
    tasks: Sequence[Sequence[Table]], combine: Combine = average, seed: int = 0
) -> PairedDifference:
    """Compare two models' scores as `mean_score` has them, on the same items.

    Args:
        tasks: the parts of each, tables of two models; each part has an item at least.
        combine: what the tasks' scores come to.
        seed: seed of the resampling.

    Returns:
        The difference of the first and the second with a paired bootstrap's interval and p-value.
    """
    value, drawn = _resampled(tasks, combine, seed)
    n = sum(len(table) for parts in tasks for table in parts)
    return _bootstrapped(float(value[0] - value[1]), drawn[:, 0] - drawn[:, 1], n)


def _resampled(
    tasks: Sequence[Sequence[Table]], combine: Combine, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The score of each model, and those of resampled items, of shape (RESAMPLES, models)."""
    rng = np.random.default_rng(seed)
    values, draws = [], []
    for parts in tasks:
        values.append(np.mean([_ratio(table.sum(axis=0)) for table in parts], axis=0))
        draws.append(np.mean([_drawn_means(table, rng) for table in parts], axis=0))
    return combine(np.stack(values)), combine(np.stack(draws))


def _drawn_means(table: Table, rng: np.random.Generator) -> NDArray[np.float64]:
    n = len(table)
    step = max(1, 2_000_000 // n)  # items times resamples may not fit into memory
    sizes = [min(step, RESAMPLES - start) for start in range(0, RESAMPLES, step)]
    return np.concatenate(
        [_ratio(table[rng.integers(n, size=(size, n))].sum(axis=1)) for size in sizes]
    )


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(sums[..., :-1] / sums[..., -1:])


def lcpr_interval(
    counts: NDArray[np.int64], wpr_applies: bool, seed: int = 0
) -> tuple[float, float]:
    """Return the bootstrap interval of LCPR.

    Where all resamples agree (every response passes, say) they tell nothing of what others might
    do; the interval is then the LCPR of the ends of Wilson's intervals of LPR and WPR, which is
    wider than needed.

    Args:
        counts: counts of shape (strata, outcomes), as from `rates.count_outcomes`; at least one
            response is scored.
        wpr_applies: whether the script is not Latin.
        seed: seed of the resampling, which keeps the size of each stratum.
    """
    low, high = _ends(pass_rates(_resample(counts, seed), wpr_applies).lcpr)
    if low < high:
        return low, high
    n_scored = int(counts[:, Outcome.LINE_ERROR :].sum())
    n_line_ok = int(counts[:, Outcome.WORD_ERROR :].sum())
    rates = pass_rates(counts, wpr_applies)
    lpr = wilson(float(rates.lpr), n_scored)
    if not wpr_applies:
        return lpr
    wpr = wilson(float(rates.wpr), n_line_ok) if n_line_ok else (0.0, 1.0)
    low, high = harmonic_mean(lpr, wpr)
    return float(low), float(high)


def paired_lcpr(
    a: Sequence[Outcome],
    b: Sequence[Outcome],
    strata: Sequence[str],
    wpr_applies: bool,
    seed: int = 0,
) -> PairedDifference:
    """Compare two models' LCPR on the same prompts.

    Args:
        a: outcome of each prompt with the first model.
        b: the same prompts, in the same order, with the second.
        strata: the source of each prompt.
        wpr_applies: whether the script is not Latin.
        seed: seed of the resampling.

    Returns:
        The difference with a paired bootstrap interval; its p-value is the bootstrap's, never
        below 2 / (RESAMPLES + 1).

    Raises:
        ValueError: they do not cover the same number of prompts, or none.
    """
    n = _paired_length(a, b)
    rows = {name: row for row, name in enumerate(sorted(set(strata)))}
    k = len(Outcome)
    joint = np.zeros((len(rows), k, k), dtype=np.int64)
    for x, y, stratum in zip(a, b, strata, strict=True):
        joint[rows[stratum], x, y] += 1

    def difference(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        of_a = pass_rates(counts.sum(axis=-1), wpr_applies).lcpr
        return of_a - pass_rates(counts.sum(axis=-2), wpr_applies).lcpr

    resampled = _resample(joint.reshape(len(rows), k * k), seed)
    drawn = difference(resampled.reshape(-1, len(rows), k, k))
    return _bootstrapped(float(difference(joint)), drawn, n)


def _bootstrapped(found: float, drawn: NDArray[np.float64], n: int) -> PairedDifference:
    """A difference with the interval and the p-value of its draws."""
    low, high = _ends(drawn)
    tail = 1 + min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return PairedDifference(found, low, high, min(1.0, 2 * tail / (RESAMPLES + 1)), n)


def _resample(counts: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Draw counts of shape (RESAMPLES, strata, outcomes) from counts (strata, outcomes)."""
    rng = np.random.default_rng(seed)
    drawn = [rng.multinomial(int(row.sum()), row / row.sum(), RESAMPLES) for row in counts]
    return np.stack(drawn, axis=1)


def _ends(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _paired_length(a: Sequence[object], b: Sequence[object]) -> int:
    if len(a) != len(b) or not a:
        raise ValueError(f"a paired comparison needs the same items twice: {len(a)} and {len(b)}")
    return len(a)
