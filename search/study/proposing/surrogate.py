"""A Gaussian process over the recipes of a space.

Owns the numerics: what a few scored recipes say of all others. Recipes are near each other by which
share of each layer is the language expert's, and by the experts they have in common. A score's
noise is known from its number of items; the kernel's hyperparameters are taken from a few
candidates by the likelihood of what was seen. Knows nothing of Optuna.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from search.merging.space.grid import Codes, Grid

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
"""Numbers of which there is one for each of some thousand candidates and each known trial."""

LENGTHSCALES = (0.3, 0.6, 1.2), (0.1, 0.2, 0.4)
"""Distances at which scores are still alike, tried for each group of a space's features."""
PAIR_CORRELATION = (0.8, 0.95)
"""Correlation of a recipe's scores with those of the same recipe of another expert on one side."""
AMPLITUDE = (0.15, 0.3)
"""Standard deviation of scores over the space, on the scale of `arcsine`."""
CATEGORY_CORRELATION = 0.9
"""Correlation of a recipe's scores with those after another choice."""
NUGGET = 0.1
"""Part of that variance that a recipe shares with no other."""
NOISE_SHARE = 0.9
"""Part of an item's variance that recipes do not share, as all are asked the same items."""


def arcsine(share: Floats | float, items: Floats | float) -> Floats:
    """The arcsine of a share's root: there its noise is the same whatever the share is."""
    inside = (np.asarray(share) * items + 0.25) / (np.asarray(items) + 0.5)
    return np.asarray(np.arcsin(np.sqrt(inside)), dtype=np.float64)


def noise_variance(items: Floats | float) -> Floats:
    """Variance of `arcsine` of a share of so many items."""
    return np.asarray(NOISE_SHARE / (4.0 * np.asarray(items)), dtype=np.float64)


@dataclass(frozen=True)
class Hyperparameters:
    """What the likelihood chooses; see `LENGTHSCALES` and those below it."""

    lengthscales: tuple[float, ...]
    pair_correlation: float
    amplitude: float


@dataclass(frozen=True)
class EncodedRecipes:
    """Some recipes, as the kernel sees them.

    Attributes:
        codes: their indices on the axes, of shape (n, axes).
        features: the groups of numbers in which they may be near each other, each (n, numbers).
    """

    codes: Codes
    features: tuple[Singles, ...]


@dataclass(frozen=True)
class Distances:
    """How far recipes lie from others.

    Attributes:
        squares: of each group of features the squared distances, of shape (a, b).
        others: correlation by what has no distance, without that of pairs, of shape (a, b).
        pairs: index on the axis of pairs of each recipe of a, and of each of b.
    """

    squares: tuple[Singles, ...]
    others: Singles | None
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]]


class Kernel:
    """How much the scores of two recipes have in common.

    Attributes:
        candidates: what the likelihood may choose from.
    """

    def __init__(self, grid: Grid) -> None:
        """Make tables for the axes whose values are not numbers."""
        self._grid = grid
        groups = len(grid.features(grid.sample(np.random.default_rng(0), 1)))
        parts = itertools.product(
            itertools.product(*LENGTHSCALES[:groups]), PAIR_CORRELATION, AMPLITUDE
        )
        self.candidates = tuple(Hyperparameters(*part) for part in parts)
        kinds = [axis.kind for axis in grid.axes]
        self._pair = kinds.index("pair")
        self._sides = grid.axes[self._pair].sides().sum(axis=0)
        self._choices = [i for i, kind in enumerate(kinds) if kind == "choice"]

    def encode(self, codes: Codes) -> EncodedRecipes:
        """Recipes by their codes, of shape (n, axes)."""
        groups = self._grid.features(codes)
        return EncodedRecipes(codes, tuple(group.astype(np.float32) for group in groups))

    def distances(self, a: EncodedRecipes, b: EncodedRecipes) -> Distances:
        """How far each recipe of a lies from each of b."""
        others = None
        for i in self._choices:
            same = a.codes[:, i][:, None] == b.codes[:, i][None, :]
            part = np.where(same, np.float32(1), np.float32(CATEGORY_CORRELATION))
            others = part if others is None else others * part
        pairs = a.codes[:, self._pair], b.codes[:, self._pair]
        return Distances(tuple(map(_squares, a.features, b.features)), others, pairs)

    def covariance(self, distances: Distances, hyperparameters: Hyperparameters) -> Singles:
        """Covariance of what recipes share with others, of shape (a, b)."""
        squares = np.zeros_like(distances.squares[0])
        for square, length in zip(distances.squares, hyperparameters.lengthscales, strict=True):
            squares += square * np.float32(length**-2)
        found = matern(squares)
        table = (
            (1 - NUGGET)
            * hyperparameters.amplitude**2
            * hyperparameters.pair_correlation**self._sides
        )
        of_pairs = table.astype(np.float32)[distances.pairs[0]]
        found *= np.take(of_pairs, distances.pairs[1], axis=1)
        if distances.others is not None:
            found *= distances.others
        return found


def _squares(a: Singles, b: Singles) -> Singles:
    """Squared distance of each row of a from each of b."""
    found: Singles = a @ b.T
    found *= -2
    found += (a * a).sum(axis=1)[:, None]
    found += (b * b).sum(axis=1)[None, :]
    return np.maximum(found, 0, out=found)


def matern(squares: Singles) -> Singles:
    """Matérn's correlation of smoothness 5/2 at a squared distance in units of its length."""
    scaled = np.sqrt(5 * squares)
    found: Singles = np.exp(-scaled)
    scaled += 1
    scaled += squares * np.float32(5 / 3)
    found *= scaled
    return found


class Posterior:
    """What is known of every recipe after some were scored.

    Attributes:
        hyperparameters: the kernel's.
        recipes: those that were scored.
        posterior_mean: mean score, without noise, of the recipes that were scored.
    """

    def __init__(
        self,
        kernel: Kernel,
        hyperparameters: Hyperparameters,
        recipes: EncodedRecipes,
        values: Floats,
        noises: Floats,
    ) -> None:
        """Condition on scores.

        Args:
            kernel: the space's.
            hyperparameters: such as `fit_hyperparameters` finds.
            recipes: those that were scored; at least one, none twice.
            values: their scores, as `arcsine` gives them, of shape (n,).
            noises: variance of each, of shape (n,).
        """
        self._kernel, self.recipes, self._noises = kernel, recipes, noises
        self.hyperparameters = hyperparameters
        shared = kernel.covariance(kernel.distances(recipes, recipes), hyperparameters)
        self._own = NUGGET * self.hyperparameters.amplitude**2
        root, self._mean, self._rest, self._ones = _factorised(shared, values, noises + self._own)
        self._root = root.astype(np.float32)
        weights = solve_triangular(root, self._rest, lower=True, trans=1, check_finite=False)
        self.posterior_mean = values - noises * weights

    def predict(
        self, recipes: EncodedRecipes, pending: EncodedRecipes | None = None
    ) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the score, without noise, of recipes not yet scored.

        Args:
            recipes: m of them; both arrays have the shape (m,).
            pending: recipes that are being scored: they are uncertain no more, and change no mean.
        """
        seen = self._whitened(recipes)
        mean = self._mean + self._rest.astype(np.float32) @ seen
        left = self.hyperparameters.amplitude**2 - np.einsum("ij,ij->j", seen, seen).astype(
            np.float64
        )
        of_mean = (1 - self._ones.astype(np.float32) @ seen) ** 2 / (self._ones @ self._ones)
        if pending is not None and len(pending.codes):
            left -= self._gained(recipes, pending, seen)
        return mean.astype(np.float64), np.sqrt(np.maximum(left + of_mean, 1e-10))

    def _whitened(self, recipes: EncodedRecipes) -> Singles:
        cross = self._kernel.covariance(
            self._kernel.distances(self.recipes, recipes), self.hyperparameters
        )
        return np.asarray(solve_triangular(self._root, cross, lower=True, check_finite=False))

    def _gained(self, recipes: EncodedRecipes, pending: EncodedRecipes, seen: Singles) -> Singles:
        """How much less variance there is once the pending recipes are known."""
        known, kernel = self._whitened(pending), self._kernel
        own = (
            kernel.covariance(kernel.distances(pending, pending), self.hyperparameters)
            - known.T @ known
        )
        own[np.diag_indices_from(own)] += self._noises.mean() + self._own
        rest = (
            kernel.covariance(kernel.distances(pending, recipes), self.hyperparameters)
            - known.T @ seen
        )
        gained = solve_triangular(np.linalg.cholesky(own), rest, lower=True, check_finite=False)
        return np.asarray(np.einsum("ij,ij->j", gained, gained))


def fit_hyperparameters(
    kernel: Kernel, recipes: EncodedRecipes, values: Floats, noises: Floats
) -> Hyperparameters:
    """The hyperparameters under which scores are likeliest; arguments as `Posterior`'s."""
    distances = kernel.distances(recipes, recipes)
    found = []
    for hyperparameters in kernel.candidates:
        own = noises + NUGGET * hyperparameters.amplitude**2
        root, _, rest, _ = _factorised(kernel.covariance(distances, hyperparameters), values, own)
        found.append(-0.5 * rest @ rest - np.log(np.diag(root)).sum())
    return kernel.candidates[int(np.argmax(found))]


def _factorised(
    shared: Singles, values: Floats, noises: Floats
) -> tuple[Floats, float, Floats, Floats]:
    """Root of the covariance, the mean by least squares, whitened residuals, whitened ones."""
    covariance = shared.astype(np.float64)
    covariance[np.diag_indices_from(covariance)] += noises
    root = np.asarray(np.linalg.cholesky(covariance))
    both = np.column_stack([values, np.ones_like(values)])
    white = solve_triangular(root, both, lower=True, check_finite=False)
    ones = white[:, 1]
    mean = float(white[:, 0] @ ones / (ones @ ones))
    return root, mean, white[:, 0] - mean * ones, ones
