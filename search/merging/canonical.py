"""Validity and canonical form: the recipe without all that cannot change the merged model.

Owns that recipes of different kinds that mean the same weights become one: each method names the
plainer kind (a soup of one expert is that expert, TIES that trims nothing of a single expert is
task arithmetic), and what it names is made canonical in its turn. Knows nothing of tensors.
"""

from __future__ import annotations

from dataclasses import replace

from objectives.types import Decoding
from search.common.errors import RecipeError
from search.merging.methods.common import Average
from search.merging.methods.method import Recipe
from search.merging.methods.registry import method_of
from search.merging.methods.soup import Soup


def validate(recipe: Recipe, n_layers: int) -> None:
    """Check a recipe against a model of `n_layers` layers.

    Raises:
        RecipeError: naming every violated rule with its values.
    """
    faults = method_of(recipe).faults(recipe, n_layers)
    if faults:
        raise RecipeError(f"{recipe}: " + "; ".join(faults))


def canonical(recipe: Recipe, n_layers: int) -> Recipe:
    """The recipe with everything removed that cannot change the merged weights or the decoding.

    Two valid recipes give the same plan and decoding if and only if their canonical forms are
    equal. Whole-model averages of one task and one language expert are layer swaps whose transition
    zone is the whole model; experts that nothing is taken from are number 0; weights are relative
    to the largest, experts sorted.

    Raises:
        RecipeError: if the recipe is not valid for `n_layers`.
    """
    validate(recipe, n_layers)
    form = replace(recipe, decoding=_plainest(recipe.decoding))
    while True:
        plainer = method_of(form).canonical(form, n_layers)
        if isinstance(plainer, Average):
            plainer = Soup(plainer.experts, plainer.weights, plainer.decoding)
        if type(plainer) is type(form):
            return plainer
        form = plainer


def _plainest(decoding: Decoding | None) -> Decoding | None:
    """Decoding without what has no effect; None where nothing is left."""
    if decoding is not None and (decoding.beam_width or 1) > 1:
        decoding = replace(decoding, temperature=None, top_p=None)
    elif decoding is not None and decoding.temperature == 0:
        decoding = replace(decoding, top_p=None)
    return None if decoding == Decoding() else decoding
