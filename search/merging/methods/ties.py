"""TIES: task vectors are trimmed, vote on each entry's sign, and those that agree are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from objectives.types import Decoding
from search.merging.blocks import ChunkMerge, Tensor, deltas, for_blocks, parts_at, weighted_sum
from search.merging.methods.common import (
    DENSITIES,
    SCALES,
    SHARES,
    pair_sources,
    parts,
    relative,
    rounded,
    rounded_density,
    shared,
    shares,
    short,
    used,
)
from search.merging.methods.faults import density_faults, finite_faults, weighted_faults
from search.merging.methods.linear import terms_in_words
from search.merging.methods.method import Arithmetic, Mergekit, Method, Recipe, Rival
from search.merging.methods.task_arithmetic import TaskArithmetic
from search.merging.mix import Mix, Term


@dataclass(frozen=True)
class Ties:
    """Trim, elect sign, disjoint mean (Yadav et al. 2023, arXiv 2306.01708, Algorithm 1).

    Attributes:
        experts: as in a soup.
        density: share of each task vector that is kept, largest magnitudes first (the paper's k).
        weights: one for each expert, >= 0, in election and mean; only the ratios count (the paper
            has none: equal weights).
        scale: factor of the merged task vector (the paper's lambda).
    """

    experts: tuple[str, ...]
    density: float
    weights: tuple[float, ...]
    scale: float = 1.0
    decoding: Decoding | None = None


def _faults(recipe: Ties, n_layers: int) -> list[str]:
    return [
        *weighted_faults(recipe.experts, recipe.weights),
        *finite_faults({"scale": recipe.scale}),
        *density_faults(recipe.density),
    ]


def _canonical(recipe: Ties, n_layers: int) -> Recipe:
    """Scaled to nothing, or of one untrimmed expert, it is task arithmetic."""
    names, weights = used(recipe.experts, relative(recipe.weights))
    density, scale = rounded_density(recipe.density), rounded(recipe.scale)
    if scale == 0.0 or (len(names) == 1 and density == 1.0):
        return TaskArithmetic(names[:1], (scale,), recipe.decoding)
    return Ties(names, density, weights, scale, recipe.decoding)


def _mix(form: Ties, layer: int | None, n_layers: int) -> Mix:
    return Mix("ties", tuple(map(Term, form.experts, form.weights)), form.density, form.scale)


def _label(form: Ties, recipe: Recipe, n_layers: int) -> list[str]:
    numbers = [f"density{short(form.density)}", f"scale{short(form.scale)}"]
    return ["TIES", *numbers, *parts(form.experts, shares(form.weights))]


def _merge(mix: Mix, sources: Sequence[Tensor], name: str) -> ChunkMerge:
    """Yadav et al. 2023, Algorithm 1, tensor by tensor as in mergekit's `ties`.

    The paper trims the whole task vector, mergekit each tensor of it. With weights w, as mergekit
    has it: elected sign = sign of the sum of w x trimmed (0 counts as +), then the sum over those
    that agree, divided by the sum of their weights.
    """
    import torch

    weights = [term.coefficient for term in mix.terms]
    ones = [1.0] * len(weights)
    trims = [_Trim(sources[0], expert, mix.density) for expert in sources[1:]]

    def step(parts: list[Tensor]) -> Tensor:
        trimmed = [trim(delta) for trim, delta in zip(trims, deltas(parts), strict=True)]
        weighted = [delta.mul_(weight) for delta, weight in zip(trimmed, weights, strict=True)]
        elected = weighted_sum(weighted, ones)
        sign = torch.copysign(torch.ones_like(elected), elected)
        agreeing = [delta.mul_(sign).clamp_(min=0) for delta in weighted]
        weight = weighted_sum([delta.sign() for delta in agreeing], weights)
        mean = weighted_sum(agreeing, ones).div_(weight.clamp_(min=min(weights))).mul_(sign)
        return mean.mul_(mix.scale).add_(parts[0])

    return step


class _Trim:
    """Keeps the entries of largest magnitude of one task vector and sets the others to 0.

    As many as mergekit keeps: int(density x number), at least 1. Differences of bf16 weights have
    many equal magnitudes: of those at the threshold the first in memory order are kept.
    """

    def __init__(self, base: Tensor, expert: Tensor, density: float) -> None:
        import torch

        self._all = density >= 1 or base.numel() == 0
        if self._all:
            return
        wanted = max(1, int(density * base.numel()))

        def select(wanted: int, digits: Callable[[Tensor], Tensor]) -> tuple[int, int]:
            def count(place: Any) -> Tensor:
                # Magnitudes are ordered as their bit patterns are, read as integers.
                bits = deltas(parts_at([base, expert], place))[0].abs().view(torch.int32)
                return torch.bincount(digits(bits), minlength=2**16)

            counts = for_blocks(count, base)
            return _select(sum(counts, torch.zeros((), dtype=torch.int64)), wanted)

        high, rest = select(wanted, lambda bits: bits >> 16)
        low, self._room = select(rest, lambda bits: bits[bits >> 16 == high] & 0xFFFF)
        pattern = torch.tensor(high << 16 | low, dtype=torch.int32)
        self._threshold = pattern.view(torch.float32).item()

    def __call__(self, delta: Tensor) -> Tensor:
        if self._all:
            return delta
        size = delta.abs()
        keep = size > self._threshold
        if self._room:
            equal = size == self._threshold
            found = int(equal.count_nonzero())
            if found > self._room:
                equal &= equal.cumsum(0) <= self._room
            self._room -= min(found, self._room)
            keep |= equal
        return delta * keep


def _select(counts: Tensor, wanted: int) -> tuple[int, int]:
    """The `wanted`-th largest of whole numbers below 2^16, and how many are wanted of its equals.

    One pass of a radix selection: exact, and needs a histogram instead of a sorted copy.

    Args:
        counts: how many there are of each number, shape (2^16,).
        wanted: from 1 to the sum of the counts.
    """
    down = counts.flip(0).cumsum(0)  # how many are at least 65535, 65534, ...
    place = int((down < wanted).sum())
    above = int(down[place - 1]) if place else 0
    return 2**16 - 1 - place, wanted - above


METHOD = Method(
    recipe=Ties,
    sources=lambda recipe: recipe.experts,
    faults=_faults,
    canonical=_canonical,
    mix=_mix,
    label=_label,
    arithmetic=Arithmetic(
        merge=_merge,
        words=lambda mix: (
            f"base and ties (density {mix.density:g}, scale {mix.scale:g}) of {terms_in_words(mix)}"
        ),
        mergekit=Mergekit(
            parameters=lambda mix: {"normalize": True, "lambda": mix.scale},
            settings=lambda mix: {"density": mix.density},
        ),
    ),
    rival=Rival(
        axes={"density": DENSITIES, "w_lang": SHARES, "scale": SCALES},
        recipe=lambda task, lang, n_layers, values: Ties(
            pair_sources(task, lang),
            values["density"],
            shared(task, lang, (1 - values["w_lang"], values["w_lang"])),
            values["scale"],
        ),
        role="best TIES",
    ),
)
