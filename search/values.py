"""Plain nested values: made flat, the exact difference of two, a text cut to a length, tidy floats.

Imports nothing of this project. Knows nothing of what the values mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = "nothing"
"""How a value that one of two mappings lacks is shown."""


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names; the values as they are."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            found |= flatten(value, f"{path}.") or {path: {}}
        else:
            found[path] = value
    return found


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Where two nested mappings differ, value by value and exactly: dotted name, what is where."""
    old, new = flatten(there), flatten(here)
    for name in sorted(old.keys() | new.keys()):
        before, after = (repr(m[name]) if name in m else ABSENT for m in (old, new))
        if before != after:
            yield name, f"{name} ({short(before)} there, {short(after)} here)"


def short(value: object, length: int = 300) -> str:
    """The value as text of at most this many characters."""
    text = str(value)
    return text if len(text) <= length else text[: length - 4] + " ..."


def tidy(value: Any) -> Any:
    """Nested values with floats as people write them: 0.1 for 0.09999999999999998.

    15 digits are kept, more than float32 and a text of a number need.
    """
    if isinstance(value, float):
        return float(f"{value:.15g}")
    if isinstance(value, Mapping):
        return {name: tidy(inner) for name, inner in value.items()}
    return list(map(tidy, value)) if isinstance(value, list | tuple) else value


def percent(share: float | None) -> str:
    """A share as a number of percent with one decimal; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.1f}"
