"""A merge method from outside: the base plus the experts' task vectors, each entry clipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from objectives.types import Decoding
from search.merging.blocks import ChunkMerge, Tensor, deltas
from search.merging.methods.common import SMALLEST, pair_sources, rounded, short
from search.merging.methods.faults import scaled_faults
from search.merging.methods.method import Arithmetic, Method, Rival
from search.merging.mix import Mix, Term


@dataclass(frozen=True)
class Clipped:
    experts: tuple[str, ...]
    limit: float
    decoding: Decoding | None = None


def _faults(recipe: Clipped, n_layers: int) -> list[str]:
    fine = SMALLEST <= recipe.limit <= 1
    outside = [] if fine else [f"limit = {recipe.limit} is not in [{SMALLEST}, 1]"]
    return [*scaled_faults(recipe.experts, [1.0] * len(recipe.experts)), *outside]


def _merge(mix: Mix, name: str, surveyed: Sequence[Tensor]) -> ChunkMerge:
    (limit,) = mix.more
    return lambda parts, start: parts[0] + sum(d.clamp_(-limit, limit) for d in deltas(parts))


METHOD = Method(
    recipe=Clipped,
    sources=lambda recipe: recipe.experts,
    faults=_faults,
    canonical=lambda r, n: Clipped(tuple(sorted(r.experts)), rounded(r.limit), r.decoding),
    mix=lambda form, layer, n: Mix(
        "clipped", tuple(Term(name, 1.0) for name in form.experts), more=(form.limit,)
    ),
    label=lambda form, recipe, n: ["clipped", *form.experts, f"at{short(form.limit)}"],
    arithmetic=Arithmetic(merge=_merge, words=lambda mix: f"clipped at {mix.more[0]:g}"),
    rival=Rival(
        axes={"limit": (0.01, 0.1)},
        recipe=lambda task, lang, n, values: Clipped(pair_sources(task, lang), values["limit"]),
        role="best clipped",
    ),
)
