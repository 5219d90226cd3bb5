"""What a score may become when the rest of the items are asked, from the items asked so far.

Owns the draws that a look at a running trial needs. Pure; seeded, so that the same answers always
give the same draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from objectives.languages import LANGUAGES
from objectives.rates import Outcome, count_outcomes, pass_rates
from objectives.types import ItemResult

Foresee = Callable[[Iterable[ItemResult], int, str], NDArray[np.float64]]
"""Results of the first items, number of all items, language code -> draws of the final score."""
DRAWS = 2000
SHRINK = 2.0
"""Items' worth of belief that a source is like all sources."""


def lcpr_draws(items: Iterable[ItemResult], total: int, lang: str) -> NDArray[np.float64]:
    """LCPR of all prompts, drawn from what the first ones say (Dirichlet and multinomial).

    Args:
        items: per-item results of the first prompts, of any objectives; the sources stand among
            them as they do among all.
        total: prompts that there are.
        lang: language code; it decides whether word-level confusion is defined.

    Returns:
        Shares of shape (DRAWS,); those that answers seen so far rule out are never drawn.

    Raises:
        ValueError: no prompt was asked, or more than there are.
    """
    verdicts = [item.verdict for item in items if item.objective == "lcpr"]
    if not 0 < len(verdicts) <= total:
        raise ValueError(f"{len(verdicts)} of {total} prompts were asked")
    ended = [Outcome[str(verdict["outcome"])] for verdict in verdicts]
    counts = count_outcomes(ended, [str(verdict["source"]) for verdict in verdicts])
    asked = counts.sum(axis=1)
    left = np.diff(np.round(np.cumsum(asked) * (total / asked.sum() - 1)).astype(int), prepend=0)
    of_all = (counts.sum(axis=0) + 1 / len(Outcome)) / (asked.sum() + 1)
    rng = np.random.default_rng(0)
    rest = [
        rng.multinomial(more, rng.dirichlet(seen + SHRINK * of_all, DRAWS))
        for seen, more in zip(counts, left, strict=True)
    ]
    return pass_rates(counts + np.stack(rest, axis=1), LANGUAGES[lang].wpr_applies).lcpr
