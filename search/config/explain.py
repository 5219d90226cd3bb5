"""What pydantic found wrong with a configuration, in words for who wrote it.

Owns how a fault is said: its key as it is written, its value, what is allowed, and which key or
value was probably meant. What may be written, `search.config.schema` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from objectives.languages import nearest_code
from objectives.words import counted, did_you_mean, fault_in_words, guess, nearest
from search.common.values import short
from search.config.schema import Config

_HINTS = {
    "objective.lcpr.data_dir": "; name the folder of LCB's test sets with --lcb-dir",
}
_OF_PYDANTIC = re.compile(r".*[\[\](]|constrained-")
"""Parts of a fault's location that are no key: which type of several was tried."""


def faults(error: ValidationError) -> str:
    """All faults, one a line below their number."""
    lines = _lines(map(dict, error.errors()))
    return "\n  ".join([f"{counted(len(lines), 'fault')} in the configuration:", *lines])


def _lines(found: Iterable[dict[str, Any]]) -> list[str]:
    """One for each key: what each of its types refused, but for those that the value is not of."""
    by_key: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for fault in found:
        key = tuple(part for part in fault["loc"] if not _OF_PYDANTIC.match(str(part)))
        by_key.setdefault(key, []).append(fault)
    lines = []
    for key, same in by_key.items():
        telling = [fault for fault in same if not fault["type"].endswith("_type")] or same
        value = telling[0]["input"]
        kind = telling[0]["type"]
        whole = (
            isinstance(value, Mapping) and kind != "extra_forbidden"
        )  # of a key that holds others
        of_key = telling[0]["loc"][-1:] == ("[key]",)
        shown = "" if whole or of_key or kind == "missing" else f" = {_shown(value)}"
        said = dict.fromkeys(_said(key, fault) for fault in telling)
        lines.append(f"{'.'.join(map(str, key)) or '(whole)'}{shown}: {', or '.join(said)}")
    return lines


def _said(key: Sequence[int | str], fault: dict[str, Any]) -> str:
    """What is wrong with a value, and what may have been meant."""
    path = ".".join(map(str, key))
    if fault["type"] == "extra_forbidden":
        return f"unknown key{_meant(key)}"
    if fault["type"] == "missing":
        return f"missing; give it in the YAML or as {path}=VALUE"
    if path == "lang":
        return (
            f"must be the code of a language, such as te{guess(nearest_code(str(fault['input'])))}"
        )
    hint = _HINTS.get(path, "") if fault["input"] is None else ""
    if fault["type"] == "literal_error":
        hint = did_you_mean(fault["input"], re.findall(r"'([^']*)'", fault["ctx"]["expected"]))
    return fault_in_words(fault) + hint


def _shown(value: Any) -> str:
    try:
        return short(repr(value))
    except (ValueError, RecursionError) as error:  # an integer of too many digits; in itself
        return f"({error})"


def _meant(location: Sequence[int | str]) -> str:
    """The nearest key to an unknown one, beside it or else anywhere; what is allowed beside it."""
    above = "".join(f"{part}." for part in location[:-1])
    keys = list(_keys(Config))
    beside = [k.removeprefix(above) for k in keys if k.rpartition(".")[0] == above[:-1]]
    leaves = {key.rpartition(".")[2]: key for key in reversed(keys)}
    own = str(location[-1])
    near = above + name if (name := nearest(own, beside)) else leaves.get(nearest(own, leaves), "")
    return f"{guess(near)}; allowed are {', '.join(beside) or 'none'}"


def _keys(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Every key of a model and of those within it, dotted."""
    for name, field in model.model_fields.items():
        yield above + name
        for kind in get_args(field.annotation) or (field.annotation,):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _keys(kind, f"{above}{name}.")
