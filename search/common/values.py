"""Plain nested values: made flat, the exact difference of two, texts and floats as shown, types.

Stands on `search.common.masking` and `objectives.letters` alone. Knows nothing of what the values
mean.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_type_hints

from objectives.letters import visible
from search.common.masking import masked

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError  # at run time where needed: it takes its time

Built = TypeVar("Built")

ABSENT = "nothing"
"""How a value that one of two mappings lacks is shown."""

_SURROGATE = re.compile("[\ud800-\udfff]")


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
    """The value as text of at most this many characters, its secrets hidden before it is cut."""
    text = str(value)
    # far beyond what is shown: half a secret at this end is shown nowhere
    text = masked(text if len(text) <= 50 * length else text[: 50 * length])
    return text if len(text) <= length else text[: length - 4] + " ..."


def escaped(text: str) -> str:
    r"""The text with halves of surrogate pairs, which no file can hold, as escapes: `\ud800`."""
    return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def all_escaped(value: Any) -> Any:
    """Nested plain values, all texts of which are `escaped`, keys among them."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, dict):
        return {all_escaped(name): all_escaped(inner) for name, inner in value.items()}
    return list(map(all_escaped, value)) if isinstance(value, list) else value


def escaped_json(value: Any) -> str:
    """JSON in one line, whose texts are `escaped` when they are read again."""
    text = json.dumps(value, ensure_ascii=False)
    return _SURROGATE.sub(lambda half: f"\\\\u{ord(half[0]):04x}", text)


def some(words: Sequence[str]) -> str:
    """The first three of some words, each cut to 120 characters, and how many more there are."""
    more = f", ... ({len(words) - 3} more)" if len(words) > 3 else ""
    return ", ".join(short(word, 120) for word in words[:3]) + more


def tidy(value: Any) -> Any:
    """Nested values with floats as people write them: 0.1 for 0.09999999999999998.

    15 digits are kept, more than float32 and a text of a number need.
    """
    if isinstance(value, float):
        return float(f"{value:.15g}")
    if isinstance(value, Mapping):
        return {name: tidy(inner) for name, inner in value.items()}
    return list(map(tidy, value)) if isinstance(value, list | tuple) else value


def in_markdown(text: str) -> str:
    """A text within a line or cell of Markdown: no HTML, link, picture or line of its own."""
    line = " ".join(visible(text).splitlines())
    line = line.replace("&", "&amp;").replace("<", "&lt;")
    return line.replace("|", "\\|").replace("](", "]\\(").replace("`", "'")


def percent(share: float | None) -> str:
    """A share as a number of percent with one decimal; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.1f}"


def check_types(kind: type, values: Mapping[str, Any]) -> None:
    """Refuse values of other types than a dataclass says, NaN and infinity; all of them at once.

    Args:
        kind: the dataclass. A field whose type is a protocol may hold anything.
        values: field -> value; dataclasses within are looked into as well.

    Raises:
        ValueError: naming the fields and what they should be.
    """
    from pydantic import ValidationError

    try:
        _shape(kind).model_validate(values)
    except ValidationError as error:
        raise ValueError(misfits(error)) from None


def built(kind: Callable[..., Built], values: Any) -> Built:
    """A dataclass from a mapping that somebody else wrote.

    Raises:
        ValueError: it is no mapping, or `check_types` refuses it.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{short(values, 60)} where a mapping belongs")
    check_types(cast("type", kind), values)
    return kind(**values)


def misfits(error: ValidationError) -> str:
    """What pydantic found wrong with data that somebody else wrote, in one line.

    The first three faults, each with its field, and its value where that is a plain one.
    """
    said = dict[str, str]()
    for fault in error.errors(include_url=False):
        value, field = fault["input"], short(".".join(map(str, fault["loc"])), 80)
        plain = fault["type"] != "missing" and not isinstance(value, Mapping | list | tuple)
        given = f", not {short(repr(value), 60)}" if plain else ""
        said.setdefault(field, f"{field}: {fault['msg']}{given}")
    more = f"; and {len(said) - 3} more" if len(said) > 3 else ""
    return "; ".join(list(said.values())[:3]) + more


@functools.cache
def _shape(kind: Any) -> type[BaseModel]:
    from pydantic import ConfigDict, create_model

    config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, revalidate_instances="always"
    )
    hints = {
        name: Any if _is_protocol(hint) else hint
        for name, hint in get_type_hints(kind, include_extras=True).items()
    }
    needed: dict[str, Any] = {
        f.name: (hints[f.name], ... if f.default is f.default_factory is MISSING else None)
        for f in fields(kind)
    }
    return create_model(kind.__name__, __config__=config, **needed)


def _is_protocol(hint: Any) -> bool:
    return bool(getattr(hint, "_is_protocol", False))
