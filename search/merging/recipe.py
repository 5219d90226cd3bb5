"""Recipes as the rest of the service sees them: their kinds, keys, names and JSON.

Owns how a recipe is stored, told apart and shown. What the kinds mean is in `search.merging.kinds`,
what makes two recipes one model in `search.merging.canonical`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from objectives.types import Decoding
from search.errors import RecipeError
from search.merging.canonical import canonical, soup
from search.merging.kinds import (
    DareLinear,
    Experts,
    LayerSwap,
    NonLayer,
    Ramp,
    Recipe,
    Single,
    Slerp,
    Soup,
    TaskArithmetic,
    Ties,
    validate,
)

__all__ = [
    "Recipe",
    "DareLinear",
    "Experts",
    "NonLayer",
    "Ramp",
    "LayerSwap",
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
    "soup",
    "to_dict",
    "validate",
]

KINDS: dict[str, type[Recipe]] = {
    "swap": LayerSwap,
    "single": Single,
    "soup": Soup,
    "task_arithmetic": TaskArithmetic,
    "ties": Ties,
    "dare_linear": DareLinear,
    "slerp": Slerp,
}
"""The `kind` of a recipe's JSON."""


def key(recipe: Recipe, n_layers: int) -> str:
    """Stable name of the canonical recipe: 12 hexadecimal digits of its SHA-256."""
    text = json.dumps(to_dict(canonical(recipe, n_layers)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def clip(recipe: LayerSwap, n_layers: int) -> LayerSwap:
    """Drop transition layers that do not fit between the bottom and the upper layers."""
    room = n_layers - recipe.b - recipe.u
    t_b = min(recipe.t_b, room)
    return replace(recipe, t_b=t_b, t_u=min(recipe.t_u, room - t_b))


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON values, with its `kind`; of `decoding` and `ramp`, what is not default."""
    kind = next(name for name, cls in KINDS.items() if cls is type(recipe))
    data = {"kind": kind, **asdict(recipe)}
    decoding = data.pop("decoding") or {}
    if data.get("ramp") == "constant":
        del data["ramp"]
    said = {name: value for name, value in decoding.items() if value is not None}
    return data | ({"decoding": said} if said else {})


def from_dict(data: Mapping[str, Any]) -> Recipe:
    """The inverse of `to_dict`, also after its tuples have become JSON's lists.

    Raises:
        RecipeError: if the kind is not known or a field is missing or unknown.
    """
    kind = data.get("kind")
    if kind not in KINDS:
        raise RecipeError(f"kind = {kind!r} is not one of {', '.join(KINDS)}")
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    del fields["kind"]
    try:
        if fields.get("decoding") is not None:
            fields["decoding"] = Decoding(**fields["decoding"])
        return KINDS[kind](**fields)
    except TypeError as error:
        raise RecipeError(f"not a {kind} recipe: {error}") from None


def label(recipe: Recipe, lang: str, n_layers: int) -> str:
    """A name a person can read, such as `te b3 u1 tb1 tu0 w.60 m0-l1`.

    `w` is the language expert's share of the transition layers; it is shown where it matters. `m`
    and `l` number the math (task) and language experts; what follows each is its part.
    """
    form = canonical(recipe, n_layers)
    if isinstance(form, Single):
        kind, _, name = form.source.partition("/")
        names = {"task": f"math expert m{name}", "lang": f"language expert l{name}"}
        words = [names.get(kind, name or kind)]
    elif isinstance(form, LayerSwap):
        words = _swap_words(form, n_layers)
    elif isinstance(form, Slerp):
        anchors = recipe.t if isinstance(recipe, Slerp) else form.t
        along = "-".join(map(_short, anchors))
        outside = [f"embeddings{_short(form.non_layer)}"] if form.non_layer != form.t[0] else []
        words = ["SLERP", f"t{along}", f"m{form.task}-l{form.lang}", *outside]
    elif isinstance(form, Soup):
        total = sum(form.weights)
        words = ["soup", *_parts(form.experts, (weight / total for weight in form.weights))]
    elif isinstance(form, TaskArithmetic):
        words = ["task arithmetic", *_parts(form.experts, form.scales)]
    elif isinstance(form, Ties):
        total = sum(form.weights)
        words = ["TIES", f"density{_short(form.density)}", f"scale{_short(form.scale)}"]
        words += _parts(form.experts, (weight / total for weight in form.weights))
    else:
        words = ["DARE", f"density{_short(form.density)}", *_parts(form.experts, form.scales)]
        words += [f"seed{form.seed}"]
    return " ".join([lang, *words, *_decoding_words(form.decoding)])


def _swap_words(form: LayerSwap, n_layers: int) -> list[str]:
    share = f"w{_short(form.share)}"
    whole = form.b + form.u == 0 and form.t_b == n_layers and form.ramp == "constant"
    if whole and (form.non_layer == "weighted" or (form.non_layer, form.share) == ("average", 0.5)):
        return ["soup", share, form.pair]
    words = [f"b{form.b}", f"u{form.u}", f"tb{form.t_b}", f"tu{form.t_u}"]
    if form.ramp == "linear":
        words.append("linear")
    if form.non_layer == "weighted" or (form.t_b + form.t_u and form.ramp == "constant"):
        words.append(share)
    policy = [] if form.non_layer == "average" else [f"{form.non_layer}-embeddings"]
    return [*words, form.pair, *policy]


def _parts(experts: Iterable[str], numbers: Iterable[float]) -> list[str]:
    """Such as `m0`, `.50`, `l1`, `.50`."""
    short = (name.replace("task/", "m").replace("lang/", "l") for name in experts)
    return [word for pair in zip(short, map(_short, numbers), strict=True) for word in pair]


def _short(number: float | None) -> str:
    """Two decimals, without the zero before the point."""
    text = f"{number:.2f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _decoding_words(decoding: Decoding | None) -> list[str]:
    if decoding is None:
        return []
    names = {"temperature": "T", "top_p": "p", "beam_width": "beam", "shots": "shots"}
    values = {short: getattr(decoding, name) for name, short in names.items()}
    return [f"{short}{value:g}" for short, value in values.items() if value is not None]
