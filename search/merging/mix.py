"""What a plan is made of: mixes of terms, as plain data.

Owns how the making of one tensor is written down. Knows nothing of recipes, names or torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class Term(NamedTuple):
    """One source's part of a tensor: `coefficient` x the tensor of `source`."""

    source: str
    coefficient: float


class Mix(NamedTuple):
    """How one tensor of the merged model is made from its namesakes in the sources.

    Attributes:
        method: `linear`, or the kind in `search.merging.methods.registry` whose arithmetic it is
            (mergekit's names); `linear` with one term of coefficient 1.0 is a copy.
        terms: of a linear mix the summands; of `slerp` the two ends with 1 - t and t; else the task
            vectors (expert - base) with their scales or weights.
        density: share of each task vector that is kept.
        scale: factor of the merged task vector (TIES).
        seed: of the random numbers (DARE).
        base: the source that the task vectors start from, read before the terms; empty where the
            terms are whole tensors. A linear mix has none, whatever stands here.
        more: further numbers of a method that needs others.
        rows: rows that are a source's own, whatever the method: number of the row, source.
    """

    method: str
    terms: tuple[Term, ...]
    density: float = 1.0
    scale: float = 1.0
    seed: int = 0
    base: str = "base"
    more: tuple[float, ...] = ()
    rows: tuple[tuple[int, str], ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Every checkpoint that is read, each once; the base first where it is one of them."""
        merged = self.merged
        more = dict.fromkeys(source for _, source in self.rows if source not in merged)
        return *merged, *more

    @property
    def merged(self) -> tuple[str, ...]:
        """The sources that the method merges; the others give rows alone."""
        base = () if self.method == "linear" or not self.base else (self.base,)
        return *base, *(term.source for term in self.terms)

    def plain(self) -> tuple[Any, ...]:
        """The same as tuples of text and numbers, for other processes."""
        rows = tuple(map(tuple, self.rows))
        return self.method, tuple(map(tuple, self.terms)), *self[2:6], rows, *self.more

    @classmethod
    def of(cls, plain: Sequence[Any]) -> Mix:
        """The inverse of `plain`, also after tuples have become lists."""
        method, terms, density, scale, seed, base, rows, *more = plain
        terms = tuple(Term(*term) for term in terms)
        owned = tuple((row, source) for row, source in rows)
        return cls(method, terms, density, scale, seed, base, tuple(more), owned)


Plan = Mapping[str, Mix]
"""Checkpoint tensor name -> how it is made."""


def linear(parts: Iterable[tuple[str, float]]) -> Mix:
    """The sum of sources x coefficients, those with 0 left out."""
    return Mix("linear", tuple(Term(source, part) for source, part in parts if part != 0.0))
