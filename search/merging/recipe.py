"""Recipes as the rest of the service sees them: their kinds, keys, names and JSON.

Owns how a recipe is stored, told apart and shown. What the kinds mean is in
`search.merging.methods`, what makes two recipes one model in `search.merging.canonical`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from objectives.types import Decoding
from search.common.errors import RecipeError
from search.common.values import built
from search.merging.canonical import canonical, validate
from search.merging.methods.common import Experts, members
from search.merging.methods.components import Components
from search.merging.methods.dare_linear import DareLinear
from search.merging.methods.layered import Layered, NonLayer
from search.merging.methods.layerwise import Layerwise
from search.merging.methods.method import Recipe
from search.merging.methods.registry import METHODS, kind_of, method_of
from search.merging.methods.single import Single
from search.merging.methods.slerp import Slerp
from search.merging.methods.soup import Soup, soup
from search.merging.methods.swap import LayerSwap, Ramp, clip
from search.merging.methods.task_arithmetic import TaskArithmetic
from search.merging.methods.ties import Ties

__all__ = [
    "Components",
    "DareLinear",
    "Experts",
    "LayerSwap",
    "Layered",
    "Layerwise",
    "NonLayer",
    "Ramp",
    "Recipe",
    "Single",
    "Slerp",
    "Soup",
    "TaskArithmetic",
    "Ties",
    "canonical",
    "clip",
    "from_dict",
    "key",
    "label",
    "members",
    "soup",
    "sources_of",
    "to_dict",
    "validate",
]


def key(recipe: Recipe, n_layers: int) -> str:
    """Stable name of the canonical recipe: 12 hexadecimal digits of its SHA-256."""
    text = json.dumps(to_dict(canonical(recipe, n_layers)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def sources_of(recipe: Recipe) -> tuple[str, ...]:
    """Every source that a recipe names, whether or not its weights are used."""
    return method_of(recipe).sources(recipe)


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON values, with its `kind`; of optional fields, what is not default."""
    kind = kind_of(recipe)
    data = {"kind": kind, **asdict(recipe)}
    decoding = data.pop("decoding") or {}
    for name in METHODS[kind].optional:
        if data[name] == recipe.__dataclass_fields__[name].default:
            del data[name]
    said = {name: value for name, value in decoding.items() if value is not None}
    return data | ({"decoding": said} if said else {})


def from_dict(data: Mapping[str, Any]) -> Recipe:
    """The inverse of `to_dict`, also after its tuples have become JSON's lists.

    Raises:
        RecipeError: if the kind is not known or a field is missing, unknown or of another type.
    """
    kind = data.get("kind") if isinstance(data, Mapping) else None
    if not isinstance(kind, str) or kind not in METHODS:
        raise RecipeError(f"kind = {kind!r} is not one of {', '.join(METHODS)}")
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    del fields["kind"]
    try:
        if fields.get("decoding") is not None:
            fields["decoding"] = built(Decoding, fields["decoding"])
        found: Recipe = built(METHODS[kind].recipe, fields)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"not a {kind} recipe: {error}") from None
    return found


def label(recipe: Recipe, lang: str, n_layers: int) -> str:
    """A name a person can read, such as `te b3 u1 tb1 tu0 w.60 m0-l1`.

    `m` and `l` number the math (task) and language experts; what follows each is its part.
    """
    form = canonical(recipe, n_layers)
    words = method_of(form).label(form, recipe, n_layers)
    return " ".join([lang, *words, *_decoding_words(form.decoding)])


def _decoding_words(decoding: Decoding | None) -> list[str]:
    if decoding is None:
        return []
    names = {"temperature": "T", "top_p": "p", "beam_width": "beam", "shots": "shots"}
    values = {short: getattr(decoding, name) for name, short in names.items()}
    return [f"{short}{value:g}" for short, value in values.items() if value is not None]
