"""The arithmetic of `linear` mixes: the weighted sum that swaps, soups and copies are made by.

No kind of its own: `search.merging.methods.registry.arithmetic_of` knows it by its name.
"""

from __future__ import annotations

from collections.abc import Sequence

from search.merging.blocks import ChunkMerge, Tensor, fused_sum
from search.merging.methods.method import Arithmetic, Mergekit
from search.merging.mix import Mix


def terms_in_words(mix: Mix) -> str:
    """Such as `0.25 task/0 + 0.75 lang/1`."""
    return " + ".join(f"{term.coefficient:.3g} {term.source}" for term in mix.terms)


def _merge(mix: Mix, name: str, surveyed: Sequence[Tensor]) -> ChunkMerge:
    coefficients = [term.coefficient for term in mix.terms]
    return lambda parts, start: fused_sum(parts, coefficients)


def _words(mix: Mix) -> str:
    first = mix.terms[0]
    return first.source if first.coefficient == 1.0 else terms_in_words(mix)


LINEAR = Arithmetic(
    merge=_merge,
    words=_words,
    elementwise=True,
    mergekit=Mergekit(parameters=lambda mix: {"normalize": False}),
)
