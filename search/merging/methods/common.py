"""What several kinds of merge share: experts, rounding, averages, the parts of a name.

Knows nothing of any kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from objectives.types import Decoding
from search.merging.source import Source

Experts = int | tuple[int, ...]
"""Index of an expert in the family's list; or several, which are averaged evenly first."""

SHARE_DIGITS = 6
"""Shares, weights and scales are rounded to this many decimals, far below what bf16 (8 bits of
mantissa) or float32 averages can tell apart in a model's answers."""

SMALLEST: float = 10**-SHARE_DIGITS

SHARES = tuple(round(0.1 * i, 1) for i in range(1, 10))
"""Shares of the language expert that rivals try."""

SCALES = tuple(round(0.2 * i, 1) for i in range(1, 8))
"""Scales that rivals try: from a fifth to 1.4 (TIES recommends 1, Yadav et al. 2023 search 0.8 to
1.8; task arithmetic works best below 1, Ilharco et al. 2023)."""

DENSITIES = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
"""Densities that rivals try: from the 0.2 of TIES up to those that DARE leaves unharmed."""


@dataclass(frozen=True)
class Average:
    """The weighted average of whole experts, as a kind's canonical form hands it on.

    No kind of its own: which kind is the plainest for it is the soup's to say.

    Attributes:
        experts: `task/<i>` or `lang/<i>`, each once.
        weights: one for each expert, >= 0; only the ratios count.
        decoding: that of the recipe it comes from.
    """

    experts: tuple[str, ...]
    weights: tuple[float, ...]
    decoding: Decoding | None = None


def members(experts: Experts) -> tuple[int, ...]:
    """The indices, also of one expert."""
    return experts if isinstance(experts, tuple) else (experts,)


def rounded(number: float) -> float:
    """A share, weight or scale as canonical recipes hold it, a float also of a whole number."""
    return round(float(number), SHARE_DIGITS)  # a whole number's JSON would have another key


def rounded_density(density: float) -> float:
    """A density as canonical recipes hold it: never 0."""
    return max(rounded(density), SMALLEST)


def relative(weights: Sequence[float]) -> list[float]:
    """Weights in parts of the largest."""
    return [weight / max(weights) for weight in weights]


def used(
    experts: Sequence[str], numbers: Sequence[float]
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Experts and their rounded numbers, sorted, without those whose number is 0."""
    pairs = ((name, rounded(number)) for name, number in zip(experts, numbers, strict=True))
    found = sorted((p for p in pairs if p[1]), key=lambda p: Source.of(p[0]).order)
    return tuple(name for name, _ in found), tuple(number for _, number in found)


def pair_sources(task: Experts, lang: Experts) -> tuple[str, ...]:
    """Source names of a pair's experts, task experts first."""
    return *(f"task/{i}" for i in members(task)), *(f"lang/{i}" for i in members(lang))


def shared(task: Experts, lang: Experts, parts: tuple[float, float]) -> tuple[float, ...]:
    """Each side's number, shared evenly by its experts."""
    sides = zip((members(task), members(lang)), parts, strict=True)
    return tuple(part / len(side) for side, part in sides for _ in side)


def shared_scales(task: Experts, lang: Experts, values: Mapping[str, float]) -> tuple[float, ...]:
    """The scales of the axes `scale_task` and `scale_lang`, for each expert of a pair."""
    return shared(task, lang, (values["scale_task"], values["scale_lang"]))


def short(number: float | None) -> str:
    """Two decimals, without the zero before the point."""
    text = f"{number:.2f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def parts(experts: Iterable[str], numbers: Iterable[float]) -> list[str]:
    """Experts and their parts in a name, such as `m0`, `.50`, `l1`, `.50`."""
    names = (name.replace("task/", "m").replace("lang/", "l") for name in experts)
    return [word for pair in zip(names, map(short, numbers), strict=True) for word in pair]


def shares(weights: Sequence[float]) -> list[float]:
    """Weights in parts of their sum."""
    total = sum(weights)
    return [weight / total for weight in weights]
