"""What can be wrong with the numbers of a recipe, whatever its kind.

Each function returns one text for every violated rule, with the value. Knows nothing of any kind.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from objectives.words import counted

_EXPERT = re.compile(r"(task|lang)/(0|[1-9][0-9]*)").fullmatch


def count_faults(counts: Iterable[tuple[str, Any]]) -> list[str]:
    """Names and values that must be whole numbers from 0."""
    return [
        f"{name} = {value!r} must be a whole number >= 0"
        for name, value in counts
        if isinstance(value, bool) or not isinstance(value, int) or value < 0
    ]


def weight_faults(weights: dict[str, float]) -> list[str]:
    """Weights of one average by their names: finite, from 0, not all 0."""
    faults = [
        f"{name} = {weight} must be finite and >= 0"
        for name, weight in weights.items()
        if not math.isfinite(weight) or weight < 0
    ]
    names = list(weights)
    if not any(weights.values()):
        faults.append(f"{', '.join(names)}: all are 0, the average would be undefined")
    elif not faults and not math.isfinite(sum(weights.values())):
        shown = " + ".join(map(str, weights.values()))
        faults.append(f"{' + '.join(names)} = {shown} is not finite")
    return faults


def finite_faults(numbers: dict[str, float]) -> list[str]:
    """Numbers by their names that must be finite."""
    return [f"{name} = {x} must be finite" for name, x in numbers.items() if not math.isfinite(x)]


def density_faults(density: float) -> list[str]:
    """A share of entries that are kept: some must be."""
    return [] if 0 < density <= 1 else [f"density = {density} is not in (0, 1]"]


def weighted_faults(experts: Sequence[str], weights: Sequence[float]) -> list[str]:
    """Experts and the weights of their average."""
    named = {f"weights[{i}]": weight for i, weight in enumerate(weights)}
    return [*_expert_faults(experts), *weight_faults(named), *_number_faults(experts, weights)]


def scaled_faults(experts: Sequence[str], scales: Sequence[float]) -> list[str]:
    """Experts and the scales of their task vectors."""
    named = {f"scales[{i}]": scale for i, scale in enumerate(scales)}
    return [*_expert_faults(experts), *finite_faults(named), *_number_faults(experts, scales)]


def _expert_faults(experts: Sequence[str]) -> list[str]:
    faults = [f"{name!r} is not task/<i> or lang/<i>" for name in experts if not _EXPERT(name)]
    if len(set(experts)) != len(experts) or not experts:
        faults.append(f"experts = {experts} must name one expert or several, each once")
    return faults


def _number_faults(experts: Sequence[str], numbers: Sequence[float]) -> list[str]:
    if len(numbers) == len(experts):
        return []
    given = counted(len(numbers), "weight or scale", "weights or scales")
    return [f"{given} for {counted(len(experts), 'expert')}"]
