"""A merge method from outside: the base plus the mean of task vectors, each entry clipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from objectives.types import Decoding
from search.merging.blocks import ChunkMerge, Tensor, deltas, weighted_sum
from search.merging.methods.common import pair_sources, rounded, short
from search.merging.methods.faults import finite_faults, weighted_faults
from search.merging.methods.method import Arithmetic, Method, Recipe, Rival
from search.merging.methods.single import Single
from search.merging.mix import Mix, Term


@dataclass(frozen=True)
class Clipped:
    experts: tuple[str, ...]
    limit: float
    decoding: Decoding | None = None


def _faults(recipe: Clipped, n_layers: int) -> list[str]:
    low = [f"limit = {recipe.limit} must be >= 0"] if recipe.limit < 0 else []
    evenly = [1.0] * len(recipe.experts)
    return [*weighted_faults(recipe.experts, evenly), *finite_faults({"limit": recipe.limit}), *low]


def _canonical(recipe: Clipped, n_layers: int) -> Recipe:
    if (limit := rounded(recipe.limit)) == 0:
        return Single("base", recipe.decoding)
    return Clipped(tuple(sorted(recipe.experts)), limit, recipe.decoding)


def _mix(form: Clipped, layer: int | None, n_layers: int) -> Mix:
    part = 1 / len(form.experts)
    return Mix("clipped", tuple(Term(name, part) for name in form.experts), more=(form.limit,))


def _merge(mix: Mix, sources: Sequence[Tensor], name: str) -> ChunkMerge:
    (limit,), parts = mix.more, [term.coefficient for term in mix.terms]

    def step(chunk: list[Tensor]) -> Tensor:
        clipped = [delta.clamp_(-limit, limit) for delta in deltas(chunk)]
        return chunk[0] + weighted_sum(clipped, parts)

    return step


METHOD = Method(
    recipe=Clipped,
    sources=lambda recipe: recipe.experts,
    faults=_faults,
    canonical=_canonical,
    mix=_mix,
    label=lambda form, recipe, n_layers: ["clipped", *form.experts, f"at{short(form.limit)}"],
    arithmetic=Arithmetic(merge=_merge, words=lambda mix: f"clipped at {mix.more[0]:g}"),
    rival=Rival(
        axes={"limit": (0.01, 0.1)},
        recipe=lambda task, lang, n, values: Clipped(pair_sources(task, lang), values["limit"]),
        role="best clipped",
    ),
)
