"""Multi-objective Bayesian optimisation with BoTorch: noisy expected hypervolume improvement.

Owns the peer `qnehvi`, after AP-BMM (arXiv 2512.09972). Both targets count, each with a Gaussian
process of its own. In the landscapes every recipe has an LCPR of 1.0, so the second target and a
floor under it are idle: it is modelled as the constant that it is, which makes the improvement of
the hypervolume one of accuracy.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import optuna
import torch
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import ModelList, SingleTaskGP
from botorch.models.deterministic import GenericDeterministicModel
from botorch.models.model import Model
from botorch.models.transforms.outcome import Standardize
from botorch.optim import optimize_acqf_discrete
from gpytorch.mlls import ExactMarginalLogLikelihood
from optuna.trial import FrozenTrial, TrialState

from benchmarks.search_quality.flat import is_choice
from objectives import targets
from search.merging.space.contract import SearchSpace
from search.merging.space.grid import Codes
from search.study.proposing.model import FlatSampler

START = 10
"""Trials before the models are asked, as BoTorch's samplers have it in Optuna."""
STEPS = 50
"""Of fitting a model; more change its likelihood in the fourth digit."""
BATCH = 4096
"""Recipes that are weighed at once."""


class Hypervolume(FlatSampler):
    """Proposes the recipe that is expected to add most to the front of the first two targets.

    Every recipe of the space that was not proposed is weighed. A continuous relaxation, rounded,
    takes several times as long and proposes many recipes again.
    """

    def __init__(self, seed: int, space: SearchSpace) -> None:
        """Know a space.

        Args:
            seed: of the first proposals and of the draws.
            space: what is searched; what it has `seen` is not proposed again.
        """
        super().__init__(space.grid, seed)
        self._space = space
        self._codes = space.grid.all()
        self._keys = [space.key_of(space.grid.point(code)) for code in self._codes]
        self._rng = np.random.default_rng(seed)

    def proposed(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        """The recipe that adds most, of those that were not proposed before."""
        left = [i for i, name in enumerate(self._keys) if name not in self._space.seen]
        candidates = self._codes[left] if left else self._codes
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(done) < START:
            return self._grid.point(candidates[self._rng.integers(len(candidates))])
        codes = np.array([self._grid.code(t.params) for t in done])
        gains = torch.tensor([_gains(t) for t in done], dtype=torch.float64)
        torch.manual_seed(int(self._rng.integers(2**31)))
        best = _best(self._features(codes), gains, self._features(candidates))
        return self._grid.point(candidates[best])

    def _features(self, codes: Codes) -> torch.Tensor:
        """Numbers from 0 to 1 of each axis, of choices one for each value; (recipes, numbers)."""
        columns: list[Any] = []
        for axis, places in zip(self._grid.axes, codes.T, strict=True):
            if is_choice(axis):
                columns.append(np.eye(len(axis.values))[places])
            else:
                columns.append(places[:, None] / max(1, len(axis.values) - 1))
        return torch.from_numpy(np.hstack(columns))


def _gains(trial: FrozenTrial) -> list[float]:
    pairs = zip(targets.TARGETS[:2], trial.values, strict=False)
    return [target.gain(value) for target, value in pairs]


def _best(known: torch.Tensor, gains: torch.Tensor, candidates: torch.Tensor) -> int:
    """StudyPath of the candidate with the largest improvement.

    Args:
        known: features of scored recipes, of shape (n, numbers).
        gains: their targets, of shape (n, 2); more is better.
        candidates: features, of shape (m, numbers).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        improvement = qLogNoisyExpectedHypervolumeImprovement(
            model=ModelList(*(_model(known, column[:, None]) for column in gains.T)),
            ref_point=(gains.min(dim=0).values - 1e-3).tolist(),
            X_baseline=known,
            prune_baseline=True,
            cache_root=False,
        )
        found, _ = optimize_acqf_discrete(improvement, 1, candidates, max_batch_size=BATCH)
    return int((candidates == found).all(dim=1).nonzero()[0])


def _model(known: torch.Tensor, gains: torch.Tensor) -> Model:
    """A Gaussian process of one target; of one that never varies, its value."""
    if bool((gains == gains[0]).all()):
        return GenericDeterministicModel(lambda x: gains[0].expand(*x.shape[:-1], 1))
    model = SingleTaskGP(known, gains, outcome_transform=Standardize(m=1))
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    fit_gpytorch_mll(likelihood, optimizer_kwargs={"options": {"maxiter": STEPS}})
    return model
