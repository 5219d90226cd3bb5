"""Soups: the weighted average of whole experts. Their mixes are linear."""

from __future__ import annotations

from dataclasses import dataclass, replace

from objectives.types import Decoding
from search.merging.methods.common import SHARES, Experts, parts, relative, shares, used
from search.merging.methods.faults import weighted_faults
from search.merging.methods.method import Method, Recipe, Rival
from search.merging.methods.single import Single
from search.merging.methods.swap import LayerSwap
from search.merging.mix import linear
from search.merging.source import Source


@dataclass(frozen=True)
class Soup:
    """Weighted average of the whole of several experts (Wortsman et al. 2022, arXiv 2203.05482).

    Attributes:
        experts: `task/<i>` or `lang/<i>`, each once.
        weights: one for each expert, >= 0; only the ratios count.
    """

    experts: tuple[str, ...]
    weights: tuple[float, ...]
    decoding: Decoding | None = None


def soup(task: Experts, lang: Experts, n_layers: int, share: float = 0.5) -> LayerSwap:
    """The weighted average of a pair: a recipe whose transition zone is the whole model."""
    return LayerSwap(
        task, lang, 0, 0, n_layers, 0, w_task=1 - share, w_lang=share, non_layer="weighted"
    )


def _canonical(recipe: Soup, n_layers: int) -> Recipe:
    """One expert is that expert; one of each side is a swap whose transition is the whole model."""
    names, weights = used(recipe.experts, relative(recipe.weights))
    if len(names) == 1:
        return Single(names[0], recipe.decoding)
    sources = [Source.of(name) for name in names]
    if [source.kind for source in sources] == ["task", "lang"]:
        task, lang = (source.index for source in sources)
        pair = soup(task, lang, n_layers, weights[1] / (weights[0] + weights[1]))
        return replace(pair, decoding=recipe.decoding)
    return Soup(names, weights, recipe.decoding)


METHOD = Method(
    recipe=Soup,
    sources=lambda recipe: recipe.experts,
    faults=lambda recipe, n_layers: weighted_faults(recipe.experts, recipe.weights),
    canonical=_canonical,
    mix=lambda form, layer, n_layers: linear(zip(form.experts, shares(form.weights), strict=True)),
    label=lambda form, recipe, n_layers: ["soup", *parts(form.experts, shares(form.weights))],
    rival=Rival(
        axes={"w_lang": SHARES},
        recipe=lambda task, lang, n_layers, values: soup(task, lang, n_layers, values["w_lang"]),
        role="best soup",
    ),
)
