"""What is wrong with what an objective gives, found on empty answers before an engine starts.

Owns the rules that `objectives.types.Objective` states; a class of one's own can break them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from objectives.settings import Beams, Nucleus, Positive, StopString, Temperature
from objectives.target import Target
from objectives.types import Evaluation, ItemResult, Objective, Request, Score
from search.common.values import check_types, short

_NAME = r"[\w\-. :/]+"
"""What MLflow takes as the name of a metric."""

_PART = ("part", "value", "weight")
"""What a verdict has of an item of a score that is a mean over parts."""


@dataclass(frozen=True)
class _Sampling:
    """What of `objectives.types.Sampling` an engine takes."""

    max_tokens: Positive
    temperature: Temperature
    top_p: Nucleus
    stop: tuple[StopString, ...]
    beam_width: Beams


def misfit_of_requests(requests: Any, *, chat: bool) -> str | None:
    """The first fault of what an objective asks, and what is expected; None where there is none.

    Args:
        requests: of the items of a split.
        chat: whether prompts may be turns.
    """
    if not isinstance(requests, Sequence) or isinstance(requests, str):
        return f"requests() gives a {type(requests).__name__}, and a list is needed"
    if not requests:
        return "requests() gives none"
    return next(filter(None, (_misfit_of_request(one, chat) for one in requests)), None)


def _misfit_of_request(request: Any, chat: bool) -> str | None:
    if not isinstance(request, Request):
        kind = type(request).__name__
        return f"requests() gives a {kind}, and an objectives.types.Request is needed"
    try:
        check_types(Request, vars(request))
        check_types(_Sampling, vars(request.sampling))
    except ValueError as error:
        return f"a request has {error}"
    sampling = request.sampling
    draws = request.continuation is None and sampling.temperature and sampling.beam_width == 1
    if draws and request.seed is None:
        return (
            f"a request has temperature {sampling.temperature:g} and no seed, with which it is "
            "answered alike each time (objectives.splits.item_seed gives one)"
        )
    if not isinstance(request.prompt, str) and not chat:
        return "a request has turns, which need a chat template: set objective.chat=true (--chat)"
    return None


def misfit(objective: Objective, found: Any, optimised: Iterable[Target]) -> str | None:
    """The first fault of what an objective makes of answers; None where there is none.

    Args:
        objective: what made it.
        found: of all its search items, or all that are held out.
        optimised: the study's targets.
    """
    if not isinstance(getattr(objective, "split_hash", None), str):
        return "it has no split_hash, the text that names its items in the records"
    if not isinstance(found, Evaluation):
        return (
            f"score() gives a {type(found).__name__}, and an objectives.types.Evaluation is needed"
        )
    scores = found.scores if isinstance(found.scores, Mapping) else {}
    for name, score in scores.items():
        if not isinstance(score, Score):
            kind = type(score).__name__
            return f"its score {name} is a {kind}, and an objectives.types.Score is needed"
    try:
        check_types(Evaluation, vars(found))
    except ValueError as error:
        return f"score() gives an Evaluation with {error}"
    numbers = [end for s in scores.values() for end in (s.value, s.low, s.high)]
    values = [*numbers, *(value for item in found.items for value in item.verdict.values())]
    foreign = next((v for v in values if not isinstance(v, bool | int | float | str | None)), None)
    if foreign is not None:
        kind = f"{type(foreign).__module__}.{type(foreign).__name__}"
        return f"its scores or verdicts have a {kind}, which no record holds: make it Python's own"
    odd = next((name for name in found.scores if not re.fullmatch(_NAME, name)), None)
    if odd is not None:
        return f"its score {odd!r} is no name for MLflow: letters, digits, blanks and _-.:/ are"
    parts = [part for target in optimised for part in target.of or (target,)]
    own = [target for target in parts if target.score in found.scores]
    faults = (_misfit_of(target, found.items) for target in own)
    return _twice(found.items) or next(filter(None, faults), None)


def _twice(items: Sequence[ItemResult]) -> str | None:
    """Two merges are compared item by item, by name."""
    names = [(item.objective, item.id) for item in items]
    if len(set(names)) == len(names):
        return None
    first = next(name for name in names if names.count(name) > 1)
    return f"two of its items have the id {short(first[1], 60)!r}: each needs one of its own"


def _misfit_of(target: Target, items: Sequence[ItemResult]) -> str | None:
    try:
        check_types(Target, vars(target))
    except ValueError as error:
        return f"its target's {error}"
    if target.kind not in ("share", "mean", "parts"):
        own = target.kind == target.objective == "lcpr"
        return None if own else f"its target's kind is {target.kind!r}: share and mean are allowed"
    needed = (target.item,) if target.item else _PART if target.kind == "parts" else ()
    if not needed:
        return None
    mine = [item.verdict for item in items if item.objective == target.objective]
    if not mine:
        there = ", ".join(sorted({item.objective for item in items})) or "nothing"
        return f"its target is of items of {target.objective!r}, and it gives items of {there}"
    for verdict in mine:
        for name in needed:
            if name not in verdict:
                fields = ", ".join(verdict) or "no field"
                return f"its target is of {name!r}, and its verdicts have {fields}"
        said = verdict[target.item or "value"]
        if isinstance(said, str):
            return f"its target is of {target.item or 'value'!r}, which is {short(said, 60)!r}"
        if target.kind == "share" and said not in (True, False, None):
            return (
                f"its target is a share of items, each right or wrong, and {target.item!r} is "
                f"{said}: give it kind='mean'"
            )
    return None
