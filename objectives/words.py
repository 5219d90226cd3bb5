"""Words of messages: a number with its noun or unit, and which name a mistyped one may have been.

Owns these rules, for every message of both packages. Pure; does not know what is counted or named.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_KINDS = {
    "tuple_type": "must be a list, such as [1, 2]",
    "list_type": "must be a list, such as [1, 2]",
    "dict_type": "must be a mapping, such as {name: value}",
    "path_type": "must be the path of a file or folder",
}
LONGEST = 100
"""Characters of a mistyped name that are compared."""


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun: `1 fault`, `2 faults`.

    Args:
        number: how many.
        one: the noun for one of them.
        many: the noun for another number; where it is empty, `one` with an s.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def scaled(number: float, units: Sequence[str] = ("B", "kB", "MB", "GB", "TB")) -> str:
    """A number with its unit, each a thousand of the one before: 1234567 bytes as `1.23 MB`."""
    power = min((len(str(int(number))) - 1) // 3, len(units) - 1)
    return f"{number / 1000**power:.3g} {units[power]}"


def nearest(given: object, known: Iterable[str]) -> str:
    """The known name that a mistyped one is nearest to, whatever the case; empty where none is."""
    names = {name.lower(): name for name in known}
    near = difflib.get_close_matches(str(given)[:LONGEST].lower(), names, n=1)
    return names[near[0]] if near else ""


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """` (did you mean NAME?)` for what was mistyped; empty where no known name is near it."""
    return guess(nearest(given, known))


def guess(near: str) -> str:
    """What was probably meant, as the end of a message; empty where nothing was."""
    return f" (did you mean {near}?)" if near else ""


def fault_in_words(fault: Mapping[str, Any]) -> str:
    """What pydantic found wrong with a value, without Python's words.

    Args:
        fault: as the `errors()` of its `ValidationError` has it.
    """
    return _KINDS.get(fault["type"]) or str(fault["msg"]).removeprefix("Value error, ")
