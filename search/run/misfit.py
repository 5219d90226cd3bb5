"""What is wrong with what an objective gives, found on empty answers before an engine starts.

Owns the rules that `objectives.types.Objective` states; a class of one's own can break them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from objectives.target import Target
from objectives.types import Evaluation, Objective, Score


def misfit(
    objective: Objective, requests: Any, found: Any, optimised: Iterable[Target]
) -> str | None:
    """The first fault, and what is expected; None where there is none.

    Args:
        objective: what gave these.
        requests: of its search items.
        found: what it made of as many answers.
        optimised: the study's targets.
    """
    if not isinstance(requests, Sequence):
        return f"requests() gives a {type(requests).__name__}, and a list is needed"
    if not isinstance(getattr(objective, "split_hash", None), str):
        return "it has no split_hash, the text that names its items in the records"
    if not isinstance(found, Evaluation):
        return (
            f"score() gives a {type(found).__name__}, and an objectives.types.Evaluation is needed"
        )
    for name, score in found.scores.items():
        if not isinstance(score, Score):
            kind = type(score).__name__
            return f"its score {name} is a {kind}, and an objectives.types.Score is needed"
        if score.value is not None and not math.isfinite(score.value):
            return f"its score {name} is {score.value}: None is what stands for no value"
    return next(filter(None, (_misfit_of(target, found) for target in optimised)), None)


def _misfit_of(target: Target, found: Evaluation) -> str | None:
    if target.direction not in ("maximize", "minimize"):
        return f"its target's direction is {target.direction!r}; maximize and minimize are allowed"
    if target.of or not target.item or target.kind not in ("share", "mean"):
        return None
    for item in found.items:
        if item.objective == target.objective and target.item not in item.verdict:
            fields = ", ".join(item.verdict) or "no field"
            return f"its target is of {target.item!r}, and its verdicts have {fields}"
    return None
