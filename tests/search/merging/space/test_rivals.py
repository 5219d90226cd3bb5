"""The rival methods' spaces with Optuna's own trials."""

from __future__ import annotations

import itertools
import json
import pickle

import optuna
import pytest

from search.merging.methods.registry import rivals
from search.merging.recipe import (
    DareLinear,
    LayerSwap,
    Slerp,
    TaskArithmetic,
    Ties,
    from_dict,
    key,
    validate,
)
from search.merging.space.rivals import RivalSpace

AXES = {method: rival.axes for method, rival in rivals().items()}

KINDS = {
    "soup": LayerSwap,
    "task_arithmetic": TaskArithmetic,
    "ties": Ties,
    "dare_linear": DareLinear,
    "slerp": Slerp,
}


@pytest.mark.parametrize("n_layers", [1, 2, 10])
@pytest.mark.parametrize("method", AXES)
def test_every_proposal_is_a_valid_recipe_of_the_method(method: str, n_layers: int) -> None:
    space = pickle.loads(pickle.dumps(RivalSpace(method, "te", n_layers, ((0, 1), (1, 0)))))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    pairs = set()
    for _ in range(60):
        trial = study.ask()
        config = space(trial)
        recipe = from_dict(json.loads(config["recipe"]))
        validate(recipe, n_layers)
        assert isinstance(recipe, KINDS[method]) and config["origin"] == method
        assert config["key"] == key(recipe, n_layers) == trial.user_attrs["key"]
        assert set(trial.params) == {"pair", *AXES[method]}
        pairs.add(trial.params["pair"])
    assert pairs == {"0-1", "1-0"}


@pytest.mark.parametrize("method", AXES)
def test_parameters_reach_the_recipe(method: str) -> None:
    """Each number changes the model, so that none is searched in vain."""
    space = RivalSpace(method, "te", 10, ((0, 0),))
    middle = {name: values[1] for name, values in AXES[method].items()}
    found = {key(space.recipe("0-0", middle), 10)}
    for name, values in AXES[method].items():
        found.add(key(space.recipe("0-0", middle | {name: values[3]}), 10))
    assert len(found) == 1 + len(AXES[method])


@pytest.mark.parametrize("method", ["soup", "slerp"])
def test_unseen_ends_when_all_were_seen(method: str) -> None:
    space = RivalSpace(method, "te", 4, ((0, 0),))
    axes = AXES[method]
    every = {
        key(space.recipe("0-0", dict(zip(axes, point, strict=True))), 4)
        for point in itertools.product(*axes.values())
    }
    while (point := space.unseen(seed=1)) is not None:
        pair = str(point.pop("pair"))
        name = key(space.recipe(pair, point), 4)
        assert name not in space.seen
        space.seen.add(name)
    assert space.seen == every
