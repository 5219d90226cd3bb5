"""Recipe -> plan: for each checkpoint tensor, what it is mixed from and how.

Owns Algorithm 1 of Bandarkar et al. 2024 ("Layer Swapping for Zero-Shot Cross-Lingual Transfer in
Large Language Models"). A pure function of names and the number of layers: knows nothing of torch,
files or engines; the arithmetic is in `search.merging.arithmetic`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from search.errors import RecipeError
from search.merging.recipe import (
    DareLinear,
    LayerSwap,
    Recipe,
    Single,
    Slerp,
    Soup,
    Ties,
    canonical,
)


class Term(NamedTuple):
    """One source's part of a tensor: `coefficient` x the tensor of `source`."""

    source: str
    coefficient: float


Method = Literal["linear", "task_arithmetic", "ties", "dare_linear", "slerp"]
"""How terms become a tensor, by mergekit's names; `search.merging.arithmetic` has the equations."""


class Mix(NamedTuple):
    """How one tensor of the merged model is made from its namesakes in the sources.

    Attributes:
        method: `linear` with one term of coefficient 1.0 is a copy.
        terms: of a linear mix the summands; of `slerp` the two ends with 1 - t and t; else the task
            vectors (expert - base) with their scales or weights.
        density: share of each task vector that is kept.
        scale: factor of the merged task vector (TIES).
        seed: of the random numbers (DARE).
    """

    method: Method
    terms: tuple[Term, ...]
    density: float = 1.0
    scale: float = 1.0
    seed: int = 0

    @property
    def sources(self) -> tuple[str, ...]:
        """Every checkpoint that is read, each once; the base first where it is one of them."""
        base = () if self.method in ("linear", "slerp") else ("base",)
        return *base, *(term.source for term in self.terms)

    def plain(self) -> tuple[Any, ...]:
        """The same as tuples of text and numbers, for other processes."""
        return self.method, tuple(map(tuple, self.terms)), *self[2:]

    @classmethod
    def of(cls, plain: Sequence[Any]) -> Mix:
        """The inverse of `plain`, also after tuples have become lists."""
        return cls(plain[0], tuple(Term(*term) for term in plain[1]), *plain[2:])


Plan = Mapping[str, Mix]
"""Checkpoint tensor name -> how it is made."""

# The first number between dots: `model.layers.3.mlp...`, `transformer.h.3...`,
# `gpt_neox.layers.3...`; an expert number (`...block_sparse_moe.experts.5...`) comes later in the
# name.
_LAYER = re.compile(r"(?:^|\.)(\d+)\.")


def layer_of(name: str) -> int | None:
    """Layer number in a Hugging Face tensor name, None for embeddings, final norm and head."""
    found = _LAYER.search(name)
    return int(found.group(1)) if found else None


def plan(recipe: Recipe, names: Iterable[str], n_layers: int) -> Plan:
    """How every tensor of the merged model is made.

    The printed Algorithm 1 has `l > b-1+t_b OR l < L-u-t_u` for the task expert's zone; with OR no
    transition zone would exist, so AND is meant (DESIGN, "Rules that keep results true").

    Args:
        recipe: what to merge.
        names: the checkpoint's tensor names, each once.
        n_layers: the model's number of layers L.

    Raises:
        RecipeError: the recipe is not valid for L, or a name has a layer number >= L.
    """
    form = canonical(recipe, n_layers)
    table = [_layer(form, layer, n_layers) for layer in range(n_layers)]
    outside = _outside(form)
    result: dict[str, Mix] = {}
    for name in names:
        layer = layer_of(name)
        if layer is not None and layer >= n_layers:
            raise RecipeError(f"tensor {name} has layer {layer}, but the model has {n_layers}")
        result[name] = outside if layer is None else table[layer]
    return result


def _layer(form: Recipe, layer: int, n_layers: int) -> Mix:
    if isinstance(form, LayerSwap):
        return _average(form, _share(form, layer, n_layers))
    if isinstance(form, Slerp):
        return _slerp(form, form.t[layer] if len(form.t) > 1 else form.t[0])
    return _whole(form)


def _outside(form: Recipe) -> Mix:
    if isinstance(form, Slerp):
        return _slerp(form, form.non_layer or 0.0)
    if not isinstance(form, LayerSwap):
        return _whole(form)
    if form.non_layer == "base":
        return _linear((("base", 1.0),))
    shares = {"average": 0.5, "task": 0.0, "lang": 1.0, "weighted": form.share}
    return _average(form, shares[form.non_layer])


def _share(form: LayerSwap, layer: int, n_layers: int) -> float:
    """Share of the language expert in a layer."""
    above, below = layer - (form.b - 1), n_layers - form.u - layer  # distances to its zones
    if above <= 0 or below <= 0:
        return 1.0
    if above > form.t_b and below > form.t_u:
        return 0.0
    if form.ramp == "constant":
        return form.share
    # Where the two transitions meet, each layer belongs to one of them.
    return 1 - (above / (form.t_b + 1) if above <= form.t_b else below / (form.t_u + 1))


def _average(form: LayerSwap, share: float) -> Mix:
    task, lang = form.task_sources, form.lang_sources
    parts = [(source, (1.0 - share) / len(task)) for source in task]
    return _linear([*parts, *((source, share / len(lang)) for source in lang)])


def _linear(parts: Iterable[tuple[str, float]]) -> Mix:
    return Mix("linear", tuple(Term(source, part) for source, part in parts if part != 0.0))


def _slerp(form: Slerp, t: float) -> Mix:
    parts = (f"task/{form.task}", 1.0 - t), (f"lang/{form.lang}", t)
    return _linear(parts) if t in (0.0, 1.0) else Mix("slerp", tuple(Term(*p) for p in parts))


def _whole(form: Recipe) -> Mix:
    """The one mix of all tensors, where layers make no difference."""
    assert not isinstance(form, LayerSwap | Slerp)
    if isinstance(form, Single):
        return _linear(((form.source, 1.0),))
    if isinstance(form, Soup):
        total = sum(form.weights)
        return _linear((e, w / total) for e, w in zip(form.experts, form.weights, strict=True))
    if isinstance(form, Ties):
        terms = tuple(map(Term, form.experts, form.weights))
        return Mix("ties", terms, form.density, form.scale)
    terms = tuple(map(Term, form.experts, form.scales))
    if isinstance(form, DareLinear):
        return Mix("dare_linear", terms, form.density, seed=form.seed)
    return Mix("task_arithmetic", terms)
