"""The Gaussian process: against the textbook's formulas, and on what it should learn."""

from __future__ import annotations

import numpy as np
import pytest

from search.merging.space.grid import Codes
from search.merging.space.swap import make_space
from search.study.proposing.surrogate import (
    NUGGET,
    Kernel,
    Posterior,
    arcsine,
    fit_hyperparameters,
    noise_variance,
)

GRID = make_space(lang="te", n_layers=8, n_task=2, n_lang=2).grid
KERNEL = Kernel(GRID)
NAMES = [axis.name for axis in GRID.axes]


def some(n: int, seed: int = 0) -> Codes:
    found = GRID.sample(np.random.default_rng(seed), 4 * n)
    return found[np.random.default_rng(seed).permutation(len(found))[:n]]


def truth(codes: Codes) -> np.ndarray:
    shares, _ = GRID.features(codes)
    middle = shares[:, 3:5].sum(axis=1) * np.sqrt(8)
    ends = shares[:, [0, 7]].sum(axis=1) * np.sqrt(8)
    return np.asarray(0.7 - 0.2 * middle + 0.1 * ends + 0.05 * (codes[:, 0] == 2))


def posterior(codes: Codes, values: np.ndarray, noises: np.ndarray) -> Posterior:
    recipes = KERNEL.encode(codes)
    hyperparameters = fit_hyperparameters(KERNEL, recipes, values, noises)
    return Posterior(KERNEL, hyperparameters, recipes, values, noises)


@pytest.mark.parametrize("share", [0.05, 0.4, 0.95])
def test_noise_is_even_on_the_stable_scale(share: float) -> None:
    drawn = np.random.default_rng(0).binomial(200, share, 20_000) / 200
    # all of an item's variance is noise here, as no other recipe is asked the same items
    assert arcsine(drawn, 200.0).var() == pytest.approx(1 / (4 * 200), rel=0.05)
    assert noise_variance(200.0) == pytest.approx(0.9 / (4 * 200))


def test_shares_at_the_ends_are_finite_and_in_order() -> None:
    ends = arcsine(np.array([0.0, 0.5, 1.0]), 10.0)
    assert np.isfinite(ends).all()
    assert (np.diff(ends) > 0).all()


def test_mean_and_deviation_are_the_textbooks() -> None:
    codes, others = some(20), some(60, seed=1)
    others = others[[not (code == codes).all(axis=1).any() for code in others]]
    values, noises = truth(codes), np.full(20, 1e-3)
    found = posterior(codes, values, noises)
    shared = KERNEL.covariance(
        KERNEL.distances(KERNEL.encode(codes), KERNEL.encode(codes)), found.hyperparameters
    )
    cross = KERNEL.covariance(
        KERNEL.distances(KERNEL.encode(codes), KERNEL.encode(others)), found.hyperparameters
    )
    own = NUGGET * found.hyperparameters.amplitude**2
    inverse = np.linalg.inv(shared + np.diag(noises + own))
    ones = np.ones(20)
    level = ones @ inverse @ values / (ones @ inverse @ ones)
    mean, deviation = found.predict(KERNEL.encode(others))
    assert mean == pytest.approx(level + cross.T @ inverse @ (values - level), abs=1e-5)
    left = found.hyperparameters.amplitude**2 - np.einsum("ij,ik,kj->j", cross, inverse, cross)
    left += (1 - ones @ inverse @ cross) ** 2 / (ones @ inverse @ ones)
    assert deviation**2 == pytest.approx(left, abs=1e-5)
    kept = (shared + np.diag(np.full(20, own))) @ inverse @ (values - level)
    assert found.posterior_mean == pytest.approx(level + kept, abs=1e-5)


def test_it_learns_what_layers_and_pairs_do() -> None:
    codes, others = some(120), some(200, seed=5)
    found = posterior(codes, truth(codes), np.full(len(codes), 1e-4))
    mean, _ = found.predict(KERNEL.encode(others))
    assert np.corrcoef(mean, truth(others))[0, 1] > 0.95


def test_noisy_scores_are_believed_less() -> None:
    codes = some(30)
    values = truth(codes)
    values[7] += 0.3
    sure = posterior(codes, values, np.full(30, 1e-5)).posterior_mean[7]
    noises = np.full(30, 1e-5)
    noises[7] = 0.05
    unsure = posterior(codes, values, noises).posterior_mean[7]
    assert abs(sure - values[7]) < 0.03 < values[7] - unsure


def test_what_is_under_way_makes_its_neighbours_surer_and_moves_no_mean() -> None:
    codes, others = some(20), some(80, seed=2)
    found = posterior(codes, truth(codes), np.full(20, 1e-3))
    mean, deviation = found.predict(KERNEL.encode(others))
    same, less = found.predict(KERNEL.encode(others), KERNEL.encode(others[:3]))
    assert same == pytest.approx(mean)
    assert (less <= deviation + 1e-6).all()
    assert (less[:3] < 0.95 * deviation[:3]).all()
    none = np.empty((0, len(NAMES)), dtype=np.int64)
    assert found.predict(KERNEL.encode(others), KERNEL.encode(none))[1] == pytest.approx(deviation)


def test_a_single_score_is_enough() -> None:
    codes = some(1)
    mean, deviation = posterior(codes, np.array([0.4]), np.array([1e-3])).predict(
        KERNEL.encode(some(5, 3))
    )
    assert mean == pytest.approx(np.full(5, 0.4))
    assert (deviation > 0).all()
