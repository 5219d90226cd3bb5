"""Task arithmetic: the base plus scaled task vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from objectives.types import Decoding
from search.merging.blocks import ChunkMerge, Tensor, deltas, weighted_sum
from search.merging.methods.common import (
    SCALES,
    SMALLEST,
    Average,
    pair_sources,
    parts,
    shared_scales,
    used,
)
from search.merging.methods.faults import scaled_faults
from search.merging.methods.linear import terms_in_words
from search.merging.methods.method import Arithmetic, Mergekit, Method, Recipe, Rival
from search.merging.methods.single import Single
from search.merging.mix import Mix, Term


@dataclass(frozen=True)
class TaskArithmetic:
    """Base plus scaled task vectors (Ilharco et al. 2023, arXiv 2212.04089, section 2).

    Attributes:
        experts: as in a soup.
        scales: one for each expert, of its difference from the base; below 0 unlearns it.
    """

    experts: tuple[str, ...]
    scales: tuple[float, ...]
    decoding: Decoding | None = None


def _canonical(recipe: TaskArithmetic, n_layers: int) -> Recipe:
    names, scales = used(recipe.experts, recipe.scales)
    if not names:
        return Single("base", recipe.decoding)
    # The base's own share is 1 - sum of the scales; each was rounded by up to half a unit.
    if abs(sum(scales) - 1) < SMALLEST * (len(scales) + 0.5) / 2 and min(scales) > 0:
        return Average(names, scales, recipe.decoding)
    return TaskArithmetic(names, scales, recipe.decoding)


def _merge(mix: Mix, name: str, surveyed: Sequence[Tensor]) -> ChunkMerge:
    scales = [term.coefficient for term in mix.terms]
    return lambda parts, start: parts[0] + weighted_sum(deltas(parts), scales)


METHOD = Method(
    recipe=TaskArithmetic,
    sources=lambda recipe: recipe.experts,
    faults=lambda recipe, n_layers: scaled_faults(recipe.experts, recipe.scales),
    canonical=_canonical,
    mix=lambda form, layer, n_layers: Mix(
        "task_arithmetic", tuple(map(Term, form.experts, form.scales))
    ),
    label=lambda form, recipe, n_layers: ["task arithmetic", *parts(form.experts, form.scales)],
    arithmetic=Arithmetic(
        merge=_merge,
        words=lambda mix: f"base and task_arithmetic of {terms_in_words(mix)}",
        elementwise=True,
        mergekit=Mergekit(parameters=lambda mix: {"normalize": False}),
    ),
    rival=Rival(
        axes={"scale_task": SCALES, "scale_lang": SCALES},
        recipe=lambda task, lang, n_layers, values: TaskArithmetic(
            pair_sources(task, lang), shared_scales(task, lang, values)
        ),
        role="best task arithmetic",
    ),
)
