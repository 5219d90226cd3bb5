"""docs/config.md from the schema: every key with its default, what it may be and what it means.

    python -m search.config.reference > docs/config.md     # or: make docs

Owns the page's words and how a type is put into words. Meanings are the docstrings under the fields
of `search.config.schema`, defaults and ranges are the models' own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from search.config.compose import CONF, GROUPS
from search.config.schema import Config

HEAD = """\
# Configuration

Made by `make docs` from `search/config/`; a test holds the two together.

A study's configuration is `lang` (`--lang`) and one file of each group (`family`, `objective`,
`space`, `search`) from `conf/<group>/`. Each of these overrules the one above it:

1. the default below;
2. the group's file: `search=gpu` takes `conf/search/gpu.yaml`, `family=my.yaml` a file of your own,
   whose relative paths are looked up beside it; without a word those that `conf/config.yaml` names;
3. a key: `search.trials=200`, `space.b=[1,4]`, `search.baselines='{soup: 20, ties: 20}'`;
4. a command's flags, such as `--trials` (`python -m search.run --help`).

An unknown key is an error, and all faults are reported at once. None is written `null`. `conf/`
lies beside the package `search`; a study keeps the whole in its `study.yaml`.
"""


class Row(NamedTuple):
    """One key of the configuration, as the page says it."""

    key: str
    default: str
    allowed: str
    meaning: str


def markdown() -> str:
    """The page docs/config.md."""
    schema = Config.model_json_schema()
    parts = [HEAD, *_table([row for row in rows() if "." not in row.key and row.key not in GROUPS])]
    for group in GROUPS:
        about = _resolved(schema["properties"][group], schema)["description"]
        parts += [f"\n## {group}\n\n{_one_line(about)}\n"]
        parts += _table([row for row in rows() if row.key.startswith(f"{group}.")])
        parts += ["\nShipped:\n", *_shipped(group)]
    return "\n".join(parts) + "\n"


def rows() -> list[Row]:
    """Every key, in the order of the schema; a key that holds others comes before them."""
    schema = Config.model_json_schema()
    return list(_rows("", schema, schema))


def _rows(prefix: str, model: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Row]:
    required = model.get("required", [])
    for name, field in model["properties"].items():
        resolved = _resolved(field, schema)
        meaning = {**resolved, **field}["description"]
        inner = "properties" in resolved
        whole = "None, or the keys below" if "anyOf" in field else "the keys below"
        default = "to be given" if name in required else _default(field["default"], resolved)
        allowed = whole if inner else _allowed(resolved)
        yield Row(prefix + name, default, allowed, _one_line(meaning))
        if inner:
            yield from _rows(f"{prefix}{name}.", resolved, schema)


def _resolved(field: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A field's own schema, or that of the model that it refers to, also where it may be None."""
    field = next((one for one in field.get("anyOf", ()) if "$ref" in one), field)
    if "$ref" not in field:
        return field
    model: Mapping[str, Any] = schema["$defs"][field["$ref"].rpartition("/")[2]]
    return model


def _allowed(field: Mapping[str, Any]) -> str:
    """What a value may be, in words."""
    if "anyOf" in field:
        return ", or ".join(map(_allowed, field["anyOf"]))
    if "enum" in field:
        return ", ".join(field["enum"])
    if "format" in field:
        return f"a {field['format']}"
    kind = field["type"]
    if kind == "array" and "prefixItems" in field:
        return "[" + ", ".join(map(_allowed, field["prefixItems"])) + "]"
    if kind == "array":
        least = "one or more" if field.get("minItems") else "a list"
        return f"{least} of: {_allowed(field['items'])}"
    if kind == "object":
        names = field.get("propertyNames", {}).get("enum")
        key = f"of {', '.join(names)}" if names else "a name"
        of = field.get("additionalProperties") or next(iter(field["patternProperties"].values()))
        return f"{{{key}: {'any value' if of is True else _allowed(of)}}}"
    if kind in ("integer", "number"):
        return _range(field)
    if "pattern" in field:
        return f"text: `{field['pattern']}`"
    if "const" in field:
        return f"`{field['const']}`"
    words = {"null": "None", "boolean": "true, false", "string": "text"}
    return words[kind]


def _range(field: Mapping[str, Any]) -> str:
    what = "whole number" if field["type"] == "integer" else "number"
    low, above = field.get("minimum"), field.get("exclusiveMinimum")
    parts = [f">= {low:g}"] if low is not None else [f"> {above:g}"] if above is not None else []
    parts += [f"<= {field['maximum']:g}"] if "maximum" in field else []
    parts += [f"< {field['exclusiveMaximum']:g}"] if "exclusiveMaximum" in field else []
    return " ".join([what, " and ".join(parts)]).strip()


def _default(value: Any, field: Mapping[str, Any]) -> str:
    """A default as YAML; of a key that holds others only what is not their own default."""
    inner = field.get("properties", {})
    if inner and value and all(value[name] == inner[name].get("default") for name in value):
        return "as below"
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    return "`" + text.removesuffix("\n").removesuffix("\n...") + "`"


def _table(found: list[Row]) -> list[str]:
    lines = ["| key | default | may be | meaning |", "| --- | --- | --- | --- |"]
    for row in found:
        cells = f"`{row.key}`", row.default, row.allowed, row.meaning
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return lines


def _shipped(group: str) -> list[str]:
    chosen = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))[group]
    return [
        f"- `{group}={file.stem}`{' (where none is named)' * (file.stem == chosen)}: {about(file)}"
        for file in sorted((CONF / group).glob("*.yaml"))
    ]


def about(file: Path) -> str:
    """The first sentence of the comment that a YAML file begins with."""
    words = []
    for line in file.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if not line.startswith("#") or text.startswith("python -m"):
            break
        words.append(text)
    sentence = re.split(r"(?<=\.)\s+(?=[A-Z])", " ".join(words))[0]
    return sentence.rstrip(":.") + "."


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    print(markdown(), end="")
