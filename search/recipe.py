"""What a trial merges: recipes, their validity, their canonical form and its key.

Owns the meaning of `b, u, t_b, t_u, w_task, w_lang` (Bandarkar et al. 2024, Algorithm 1) and of the
baselines. Where decoding is searched as well, it is part of the recipe: one merge decoded in two
ways is two trials. Plain frozen data: knows nothing of tensors, files, Optuna or engines.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from objectives.types import Decoding
from search.errors import RecipeError

NonLayer = Literal["average", "task", "lang", "weighted"]
"""Where tensors without a layer number come from: the plain average of the two experts (the paper's
choice), one of them, or their average with the recipe's weights (a soup)."""

SHARE_DIGITS = 6
"""The language share of a weighted average is rounded to this many decimals, far below what bf16
(8 bits of mantissa) or float32 averages can tell apart in a model's answers."""


@dataclass(frozen=True)
class Recipe:
    """A layer swap of one pair of experts.

    Attributes:
        task: index of the task expert in the family's list.
        lang: index of the language expert in the family's list for the language.
        b: bottom layers taken from the language expert.
        u: upper (last) layers taken from the language expert.
        t_b: transition layers above the bottom ones: weighted average of the two experts.
        t_u: transition layers below the upper ones.
        w_task: weight of the task expert in the transition layers; only the ratio counts.
        w_lang: weight of the language expert in the transition layers.
        non_layer: source of the tensors without a layer number.
        decoding: how the merged model is decoded, where it differs from the objectives' own way.
    """

    task: int
    lang: int
    b: int
    u: int
    t_b: int
    t_u: int
    w_task: float = 0.5
    w_lang: float = 0.5
    non_layer: NonLayer = "average"
    decoding: Decoding | None = None

    @property
    def share(self) -> float:
        """Share of the language expert in the transition layers, in [0, 1]."""
        return round(self.w_lang / (self.w_task + self.w_lang), SHARE_DIGITS)

    @property
    def task_source(self) -> str:
        """Name of the task expert among the family's sources."""
        return f"task/{self.task}"

    @property
    def lang_source(self) -> str:
        """Name of the language expert among the family's sources."""
        return f"lang/{self.lang}"


@dataclass(frozen=True)
class Single:
    """One checkpoint as it is: the base, an expert or a reference.

    Attributes:
        source: `base`, `task/<i>`, `lang/<i>` or `reference/<name>`.
        decoding: as for a recipe.
    """

    source: str
    decoding: Decoding | None = None


AnyRecipe = Recipe | Single


def soup(task: int, lang: int, n_layers: int, share: float = 0.5) -> Recipe:
    """The weighted average of a pair: a recipe whose transition zone is the whole model."""
    return Recipe(
        task, lang, 0, 0, n_layers, 0, w_task=1 - share, w_lang=share, non_layer="weighted"
    )


def validate(recipe: AnyRecipe, n_layers: int) -> None:
    """Check a recipe against a model of `n_layers` layers.

    Raises:
        RecipeError: naming every violated rule with its values.
    """
    if isinstance(recipe, Single):
        return
    faults = []
    counts = {k: getattr(recipe, k) for k in ("task", "lang", "b", "u", "t_b", "t_u")}
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            faults.append(f"{name} = {value!r} must be a whole number >= 0")
    if not faults:
        total = recipe.b + recipe.u + recipe.t_b + recipe.t_u
        if total > n_layers:
            faults.append(
                f"b + u + t_b + t_u = {recipe.b} + {recipe.u} + {recipe.t_b} + {recipe.t_u} = "
                f"{total} exceeds the model's {n_layers} layers"
            )
    weights = {"w_task": recipe.w_task, "w_lang": recipe.w_lang}
    for name, weight in weights.items():
        if not math.isfinite(weight) or weight < 0:
            faults.append(f"{name} = {weight} must be finite and >= 0")
    if not any(weights.values()):
        faults.append("w_task and w_lang are both 0: the average would be undefined")
    elif not math.isfinite(sum(weights.values())):
        faults.append(f"w_task + w_lang = {recipe.w_task} + {recipe.w_lang} is not finite")
    if recipe.non_layer not in ("average", "task", "lang", "weighted"):
        faults.append(f"non_layer = {recipe.non_layer!r} is not average, task, lang or weighted")
    if faults:
        raise RecipeError(f"{recipe}: " + "; ".join(faults))


def canonical(recipe: AnyRecipe, n_layers: int) -> AnyRecipe:
    """The recipe with everything removed that cannot change the merged weights or the decoding.

    Two valid recipes give the same plan and decoding if and only if their canonical forms are
    equal.

    Raises:
        RecipeError: if the recipe is not valid for `n_layers`.
    """
    validate(recipe, n_layers)
    decoding = _plainest(recipe.decoding)
    if isinstance(recipe, Single):
        return Single(recipe.source, decoding)
    share = recipe.share
    b, u, t_b, t_u, non_layer = recipe.b, recipe.u, recipe.t_b, recipe.t_u, recipe.non_layer
    if non_layer == "weighted":  # an average with share 0, 1/2 or 1 has a plainer name
        plain: dict[float, NonLayer] = {0.0: "task", 0.5: "average", 1.0: "lang"}
        non_layer = plain.get(share, "weighted")
    if share == 0.0:  # transition layers are the task expert's
        t_b = t_u = 0
    elif share == 1.0:  # transition layers are the language expert's
        b, u, t_b, t_u = b + t_b, u + t_u, 0, 0
    if b + u + t_b + t_u == n_layers:  # no task zone: where the zones meet cannot be seen
        t_b, t_u = t_b + t_u, 0
        if t_b == 0:
            b, u = n_layers, 0
    if b == n_layers and non_layer == "lang":
        return Single(recipe.lang_source, decoding)
    if b + u + t_b + t_u == 0 and non_layer == "task":
        return Single(recipe.task_source, decoding)
    if t_b + t_u == 0 and non_layer != "weighted":
        share = 0.5
    w_task = round(1 - share, SHARE_DIGITS)
    return Recipe(recipe.task, recipe.lang, b, u, t_b, t_u, w_task, share, non_layer, decoding)


def _plainest(decoding: Decoding | None) -> Decoding | None:
    """Decoding without what has no effect; None where nothing is left."""
    if decoding is not None and (decoding.beam_width or 1) > 1:
        decoding = replace(decoding, temperature=None, top_p=None)
    elif decoding is not None and decoding.temperature == 0:
        decoding = replace(decoding, top_p=None)
    return None if decoding == Decoding() else decoding


def key(recipe: AnyRecipe, n_layers: int) -> str:
    """Stable name of the canonical recipe: 12 hexadecimal digits of its SHA-256."""
    text = json.dumps(to_dict(canonical(recipe, n_layers)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def clip(recipe: Recipe, n_layers: int) -> Recipe:
    """Drop transition layers that do not fit between the bottom and the upper layers."""
    room = n_layers - recipe.b - recipe.u
    t_b = min(recipe.t_b, room)
    return replace(recipe, t_b=t_b, t_u=min(recipe.t_u, room - t_b))


def to_dict(recipe: AnyRecipe) -> dict[str, Any]:
    """The recipe as plain JSON values, with its `kind`; of `decoding`, what it says."""
    data = {"kind": "swap" if isinstance(recipe, Recipe) else "single", **asdict(recipe)}
    decoding = data.pop("decoding") or {}
    said = {name: value for name, value in decoding.items() if value is not None}
    return data | ({"decoding": said} if said else {})


def from_dict(data: Mapping[str, Any]) -> AnyRecipe:
    """The inverse of `to_dict`.

    Raises:
        RecipeError: if the kind is not known or a field is missing or unknown.
    """
    fields = {k: v for k, v in data.items() if k != "kind"}
    kinds: dict[str, type[Recipe] | type[Single]] = {"swap": Recipe, "single": Single}
    kind = data.get("kind")
    if kind not in kinds:
        raise RecipeError(f"kind = {kind!r} is not one of {', '.join(kinds)}")
    try:
        if fields.get("decoding") is not None:
            fields["decoding"] = Decoding(**fields["decoding"])
        return kinds[kind](**fields)
    except TypeError as error:
        raise RecipeError(f"not a {kind} recipe: {error}") from None


def label(recipe: AnyRecipe, lang: str, n_layers: int) -> str:
    """A name a person can read, such as `te b3 u1 tb1 tu0 w.60 m0-l1`.

    `w` is the language expert's share of the transition layers; it is shown where it matters.
    """
    form = canonical(recipe, n_layers)
    decoded = _decoding_label(form.decoding)
    if isinstance(form, Single):
        kind, _, name = form.source.partition("/")
        names = {"task": f"math expert m{name}", "lang": f"language expert l{name}"}
        return f"{lang} {names.get(kind, name or kind)}{decoded}"
    pair = f"m{form.task}-l{form.lang}"
    share = f" w{form.share:.2f}".replace("0.", ".", 1)
    whole = form.b + form.u == 0 and form.t_b == n_layers
    if whole and (form.non_layer == "weighted" or (form.non_layer, form.share) == ("average", 0.5)):
        return f"{lang} soup{share} {pair}{decoded}"
    zones = f"b{form.b} u{form.u} tb{form.t_b} tu{form.t_u}"
    weight = share if form.t_b + form.t_u or form.non_layer == "weighted" else ""
    policy = "" if form.non_layer == "average" else f" {form.non_layer}-embeddings"
    return f"{lang} {zones}{weight} {pair}{policy}{decoded}"


def _decoding_label(decoding: Decoding | None) -> str:
    if decoding is None:
        return ""
    names = {"temperature": "T", "top_p": "p", "beam_width": "beam", "shots": "shots"}
    values = {short: getattr(decoding, name) for name, short in names.items()}
    return "".join(f" {short}{value:g}" for short, value in values.items() if value is not None)
