"""SMAC3's multi-fidelity facade: Hyperband, whose budget is how many items a recipe answers.

Owns the peer `smac`, as auto-merge-llm searches. An evaluation with a budget of n items asks the
first n search items, and is paid for as `ledger` says: so many trials stand for as many answers as
they would have in full. After 40 trials of 200 items SMAC has had 8,000 answers, of however many
recipes. What would be recommended is chosen, by the product's rule, among the recipes that had been
scored in full by then. The default recipes are scored in full first, as every sampler does.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ConfigSpace import CategoricalHyperparameter, Configuration, ConfigurationSpace
from ConfigSpace import UniformIntegerHyperparameter as Integer
from smac import MultiFidelityFacade, Scenario
from smac.runhistory.dataclasses import TrialInfo, TrialValue

from benchmarks.search_quality.flat import Flat, is_choice
from benchmarks.search_quality.ledger import Ledger
from benchmarks.search_quality.replay import Clock, Field, Run
from search.merging.space.grid import Axis

RUNGS = 9
"""The largest budget over the smallest: eta is 3, so recipes are promoted twice."""


def replay(land: Field, seed: int, trials: int, clock: Clock) -> Run:
    """Search a landscape until as many answers were asked for as so many trials have items.

    Args:
        land: what is searched.
        seed: of SMAC.
        trials: the budget, in recipes scored in full.
        clock: how long a trial takes.

    Returns:
        The recipes that were scored in full; the default recipes are the first.
    """
    flat, ledger = Flat(land.space()), Ledger(land, clock)
    total = land.recorded.right("search").shape[1]
    with TemporaryDirectory() as folder:
        smac = _facade(flat, seed, trials, total, Path(folder))
        space = smac.scenario.configspace
        for point in flat.space.default_points():
            loss = ledger.wrong(flat.space.key_of(point), total)
            config = Configuration(space, values=flat.places(point))
            _tell(smac, TrialInfo(config, seed=0, budget=float(total)), loss)
        while ledger.items < trials * total:
            asked = smac.ask()
            _tell(smac, asked, _loss(flat, ledger, asked))
    return ledger.run


def _loss(flat: Flat, ledger: Ledger, asked: TrialInfo) -> float:
    """Share of wrong answers; all are wrong where the layers do not fit the model."""
    point = flat.point(dict(asked.config))
    if point is None:
        return 1.0
    return ledger.wrong(flat.space.key_of(point), round(asked.budget or 0))


def _tell(smac: MultiFidelityFacade, asked: TrialInfo, loss: float) -> None:
    smac.tell(asked, TrialValue(cost=loss), save=False)


def _facade(flat: Flat, seed: int, trials: int, items: int, folder: Path) -> MultiFidelityFacade:
    space = ConfigurationSpace(seed=seed)
    space.add([_by_place(axis) for axis in flat.varied])
    scenario = Scenario(
        space,
        output_directory=folder,
        deterministic=True,
        n_trials=trials,
        min_budget=items / RUNGS,
        max_budget=float(items),
        seed=seed,
    )
    return MultiFidelityFacade(scenario, logging_level=False, overwrite=True)


def _by_place(axis: Axis) -> Any:
    """The places on an axis: choices where none is like another, else numbers."""
    if is_choice(axis):
        return CategoricalHyperparameter(axis.name, list(range(len(axis.values))))
    return Integer(axis.name, 0, len(axis.values) - 1)
