"""What LCPR may become when the rest of the prompts are asked."""

from __future__ import annotations

import numpy as np
import pytest

from objectives.foreseen import DRAWS, lcpr_draws
from objectives.rates import Outcome, count_outcomes, pass_rates
from objectives.types import ItemResult


def items(outcomes: list[Outcome], sources: tuple[str, ...] = ("a", "b")) -> list[ItemResult]:
    """Responses that ended so, from the sources in turn."""
    return [
        ItemResult(
            "lcpr",
            str(n),
            "",
            "",
            1,
            "stop",
            {"outcome": outcome.name, "source": sources[n % len(sources)]},
        )
        for n, outcome in enumerate(outcomes)
    ]


def drawn(rng: np.random.Generator, shares: tuple[float, ...], n: int) -> list[Outcome]:
    return [Outcome(int(k)) for k in rng.choice(len(Outcome), n, p=shares)]


def test_after_the_last_prompt_all_is_known() -> None:
    found = items([Outcome.PASS] * 8 + [Outcome.LINE_ERROR, Outcome.WORD_ERROR])
    counts = count_outcomes(
        [Outcome[str(i.verdict["outcome"])] for i in found],
        [str(i.verdict["source"]) for i in found],
    )
    assert np.allclose(lcpr_draws(found, 10, "te"), pass_rates(counts, True).lcpr)


def test_what_answers_rule_out_is_never_drawn() -> None:
    """Five of ten line errors among twenty: LPR can be 15 of 20 at most."""
    found = items([Outcome.PASS] * 5 + [Outcome.LINE_ERROR] * 5)
    draws = lcpr_draws(found, 20, "sw")
    assert draws.shape == (DRAWS,) and draws.max() <= 0.75 and draws.min() >= 0.25


def test_a_language_in_latin_script_has_no_word_errors() -> None:
    found = items([Outcome.PASS] * 6 + [Outcome.WORD_ERROR] * 4)
    assert lcpr_draws(found, 10, "sw") == pytest.approx(1.0)
    assert lcpr_draws(found, 10, "te") == pytest.approx(2 * 0.6 / 1.6)


def test_one_that_always_passed_is_not_doubted() -> None:
    draws = lcpr_draws(items([Outcome.PASS] * 50), 100, "te")
    assert np.mean(draws >= 0.98) > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("shares", [(0.0, 0.1, 0.1, 0.8), (0.1, 0.5, 0.0, 0.4)])
def test_draws_are_calibrated(shares: tuple[float, ...]) -> None:
    """A final score is as often below a quantile of its draws as the quantile says."""
    rng, below = np.random.default_rng(3), []
    for _ in range(200):
        outcomes = drawn(rng, shares, 100)
        final = lcpr_draws(items(outcomes), 100, "te")[0]
        draws = lcpr_draws(items(outcomes[:50]), 100, "te")
        below.append(np.mean(draws < final) + np.mean(draws == final) / 2)
    assert np.mean(np.array(below) < 0.1) < 0.2 and np.mean(np.array(below) > 0.9) < 0.2
    assert 0.4 < np.mean(below) < 0.6


@pytest.mark.parametrize(("asked", "total"), [(0, 5), (6, 5)])
def test_as_many_prompts_as_there_are(asked: int, total: int) -> None:
    with pytest.raises(ValueError, match=f"{asked} of {total} prompts"):
        lcpr_draws(items([Outcome.PASS] * asked), total, "te")
