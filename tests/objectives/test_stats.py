import numpy as np
import pytest

from objectives.rates import Outcome, count_outcomes
from objectives.stats import (
    lcpr_interval,
    mcnemar,
    paired_accuracy,
    paired_lcpr,
    proportion,
    wilson,
)

L, W, P = Outcome.LINE_ERROR, Outcome.WORD_ERROR, Outcome.PASS


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # statsmodels.stats.proportion.proportion_confint(method="wilson")
        (0, 10, 0.0, 0.2775327998628892),
        (5, 10, 0.2365930905125640, 0.7634069094874361),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
    ],
)
def test_wilson(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes / n, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("share", "n"), [(0.5, 0), (1.5, 10), (-0.1, 10)])
def test_wilson_refuses(share: float, n: int) -> None:
    with pytest.raises(ValueError, match="no interval for a share"):
        wilson(share, n)


def test_proportion_of_nothing_has_no_value() -> None:
    score = proportion(0, 0, 7)
    assert (score.value, score.low, score.high, score.n_scored, score.n_total) == (
        None, None, None, 0, 7,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (8, 2, 2 * 56 / 1024), (3, 3, 1.0)],
)
def test_mcnemar(only_a: int, only_b: int, p: float) -> None:
    assert mcnemar(only_a, only_b) == pytest.approx(p)
    assert mcnemar(only_b, only_a) == pytest.approx(p)


def test_paired_accuracy() -> None:
    a = [True] * 60 + [False] * 40
    b = [True] * 40 + [False] * 60
    found = paired_accuracy(a, b)
    assert (found.difference, found.n) == (0.2, 100)
    assert found.p_value == pytest.approx(2 * 0.5**20)
    # 20 discordant of 100, all one way: the resampled share is binomial(100, 0.2)
    assert (found.low, found.high) == (
        pytest.approx(0.12, abs=0.011),
        pytest.approx(0.28, abs=0.011),
    )
    assert paired_accuracy(a, b) == found
    assert paired_accuracy(b, a).difference == -0.2
    assert paired_accuracy(a, a).p_value == 1.0


def test_pairing_makes_the_interval_narrow() -> None:
    a = [i % 2 == 0 for i in range(100)]
    shifted = [not x for x in a]
    same, opposite = paired_accuracy(a, a), paired_accuracy(a, shifted)
    assert (same.low, same.high) == (0.0, 0.0)
    assert opposite.high - opposite.low > 0.3


def test_paired_lcpr() -> None:
    strata = ["s"] * 50 + ["t"] * 50
    a = [P] * 100
    b = ([P] * 30 + [L] * 20) * 2
    found = paired_lcpr(a, b, strata, wpr_applies=False)
    assert found.difference == pytest.approx(0.4)
    assert found.low < 0.4 < found.high and found.low > 0.25
    assert found.p_value < 0.001
    assert paired_lcpr(b, a, strata, False).difference == pytest.approx(-0.4)
    assert paired_lcpr(a, a, strata, False).p_value == 1.0


def test_lcpr_interval_matches_its_normal_approximation() -> None:
    counts = count_outcomes([P] * 300 + [L] * 100, ["s"] * 400)
    low, high = lcpr_interval(counts, wpr_applies=False)
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert (low, high) == (
        pytest.approx(0.75 - half, abs=0.006),
        pytest.approx(0.75 + half, abs=0.006),
    )
    assert lcpr_interval(counts, False, seed=0) == lcpr_interval(counts, False, seed=0)


def test_lcpr_interval_is_that_of_resampled_responses() -> None:
    outcomes = {"s": np.array([P] * 30 + [L] * 20), "t": np.array([P] * 40 + [W] * 10)}
    strata = [name for name, those in outcomes.items() for _ in those]
    counts = count_outcomes(np.concatenate(list(outcomes.values())).tolist(), strata)
    rng = np.random.default_rng(7)
    drawn = []
    for _ in range(4000):  # responses with replacement, source by source
        s, t = (rng.choice(those, len(those)) for those in outcomes.values())
        lpr = ((s != L).mean() + (t != L).mean()) / 2
        wpr = ((s != W)[s != L].mean() + (t != W)[t != L].mean()) / 2
        drawn.append(2 * lpr * wpr / (lpr + wpr))
    expected = np.quantile(drawn, [0.025, 0.975])
    assert lcpr_interval(counts, wpr_applies=True) == pytest.approx(tuple(expected), abs=0.008)


@pytest.mark.parametrize(
    ("outcomes", "wpr_applies", "low", "high"),
    [  # all resamples agree: Wilson's ends at 100 of 100 and 0 of 100 are 96.3% and 3.7%
        ([P] * 100, True, 0.963, 1.0),
        ([P] * 100, False, 0.963, 1.0),
        ([L] * 100, True, 0.0, 2 * 0.037 / 1.037),
        ([W] * 100, True, 0.0, 2 * 0.037 / 1.037),
    ],
)
def test_lcpr_interval_of_equal_outcomes(outcomes, wpr_applies, low, high) -> None:
    counts = count_outcomes(outcomes, ["s"] * 100)
    assert lcpr_interval(counts, wpr_applies) == pytest.approx((low, high), abs=1e-3)


def test_paired_lcpr_weighs_sources_the_same() -> None:
    strata = ["s"] * 90 + ["t"] * 10
    a, b = [P] * 100, [P] * 90 + [L] * 10
    assert paired_lcpr(a, b, strata, wpr_applies=False).difference == pytest.approx(0.5)
    b = [P] * 90 + [W, P] * 5
    found = paired_lcpr(a, b, strata, wpr_applies=True)
    assert found.difference == pytest.approx(1 - 2 * 0.75 / 1.75)
    assert found.low < found.difference < found.high


@pytest.mark.parametrize(("gain", "significant"), [(2, False), (12, True)])
def test_p_value_and_interval_agree(gain: int, significant: bool) -> None:
    a, b = [P] * 60 + [L] * 40, [P] * (60 - gain) + [L] * (40 + gain)
    found = paired_lcpr(a, b, ["s"] * 100, wpr_applies=False)
    assert (found.p_value < 0.05) is significant
    assert (found.low > 0) is significant
    assert found.p_value == paired_lcpr(b, a, ["s"] * 100, wpr_applies=False).p_value


def test_pairs_need_the_same_prompts() -> None:
    with pytest.raises(ValueError, match="the same items twice: 1 and 2"):
        paired_lcpr([P], [P, L], ["s"], wpr_applies=False)


@pytest.mark.parametrize(("a", "b"), [([], []), ([True], [True, False])])
def test_pairs_must_match(a: list[bool], b: list[bool]) -> None:
    with pytest.raises(ValueError, match="the same items twice"):
        paired_accuracy(a, b)
