"""A recipe as a mergekit configuration (mergekit 0.1.5), for people who want the merge from there.

Owns how plans become mergekit's slices, weights and filters; what is particular to a method is said
by its `search.merging.methods.method.Mergekit`. Two traps of mergekit shape it:
embeddings follow the first slice and norm and head the last, so every slice lists every source, the
unused ones with weight 0, and the first and the last name the tensors without a layer number; and
mergekit computes in the checkpoint's dtype unless told `dtype: float32`.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import yaml

from search.common.errors import RecipeError
from search.common.masking import masked
from search.common.values import tidy
from search.merging.methods.method import Mergekit
from search.merging.methods.registry import arithmetic_of
from search.merging.plan import Mix, Plan, layer_of, module_of, plan
from search.merging.recipe import Recipe, label

_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_ADAPTERS = (
    "# LoRA adapters: {}. mergekit wants them merged, which it does by itself with\n"
    "# --lora-merge-cache DIR, rounded otherwise than here\n"
)
_COPY = Mergekit(parameters=lambda mix: {})


def has_mergekit_form(merged: Plan) -> bool:
    """Whether mergekit knows the method of a merge, and no rows are a source's own."""
    owned = any(mix.rows for mix in merged.values())
    return arithmetic_of(_lead(merged).method).mergekit is not None and not owned


def mergekit_yaml(
    recipe: Recipe,
    models: Mapping[str, str],
    names: Iterable[str],
    n_layers: int,
    dtype: str,
    adapters: Collection[str] = (),
) -> str:
    """The configuration that `mergekit-yaml` takes.

    Args:
        recipe: what to merge.
        models: source name -> absolute folder or hub id (`org/name@revision`), for `base` and each
            expert; of an adapter its own.
        names: the checkpoint's tensor names.
        n_layers: the model's number of layers L.
        dtype: of the checkpoint, by safetensors' name (`BF16`, `F16`, `F32`).
        adapters: source names of those that are LoRA adapters of the base.

    Raises:
        RecipeError: the recipe is not valid for L, or mergekit has no such method.
    """
    models = {source: masked(model) for source, model in models.items()}
    merged = plan(recipe, names, n_layers)
    layers: dict[int, dict[str, Mix]] = {}  # layer -> module -> how it is made
    for name, mix in merged.items():
        if (layer := layer_of(name)) is not None:
            layers.setdefault(layer, {})[module_of(name)] = mix
    outside = {name: mix for name, mix in merged.items() if layer_of(name) is None}
    sources = sorted({s for mix in merged.values() for s in mix.sources}, key=_order)
    lead = _lead(merged)
    copied = lead.method == "linear" and len(sources) == 1
    form = _COPY if copied else arithmetic_of(lead.method).mergekit
    if form is None:
        raise RecipeError(
            f"{label(recipe, '#', n_layers).removeprefix('# ')}: mergekit has no method "
            f"{lead.method!r}; recipe.json describes the merge"
        )
    known = {
        source: _reference(models["base"], models[source])
        if source in adapters
        else _reference(models[source])
        for source in {*sources, "base"}
    }
    runs = itertools.groupby(range(n_layers), key=lambda layer: layers[layer])
    slices = []
    for modules, run in runs:
        numbers = list(run)
        ends = outside if 0 in numbers or n_layers - 1 in numbers else {}
        span = numbers[0], numbers[-1] + 1
        of = {source: known[source] for source in sources}
        slices.append(_slice(form, lead.method, modules, ends, span, of))
    config: dict[str, Any] = {
        "merge_method": "passthrough" if copied else lead.method,
        "base_model": known[sources[0] if form.between else "base"],
        "slices": slices,
    }
    if parameters := form.parameters(lead):
        config["parameters"] = parameters
    config |= {"dtype": "float32", "out_dtype": _DTYPES[dtype]}
    head = " ".join(label(recipe, "#", n_layers).split()) + "\n" + form.note
    if mine := [" ".join(source.split()) for source in sources if source in adapters]:
        head += _ADAPTERS.format(", ".join(mine))
    return masked(head + yaml.safe_dump(tidy(config), sort_keys=False, default_flow_style=None))


def _reference(model: str, adapter: str = "") -> Any:
    """A model as mergekit takes it: text, or a mapping where it would read + and @ as its own."""
    path, revision = _split(model)
    if not adapter and "+" not in model and (revision or "@" not in model):
        return model
    found = {"model": {"path": path, "revision": revision}}
    if adapter:
        found["lora"] = dict(zip(("path", "revision"), _split(adapter), strict=True))
    return {kind: {k: v for k, v in place.items() if v} for kind, place in found.items()}


def _split(model: str) -> tuple[str, str]:
    """Hub id and revision; a folder has none, whatever its name holds."""
    path, _, revision = (model, "", "") if model.startswith("/") else model.partition("@")
    return path, revision


def _order(source: str) -> tuple[int, int]:
    kind, _, number = source.partition("/")
    place = {"task": 0, "lang": 1}.get(kind, 2)
    return place, int(number) if place < 2 else 0


def _lead(merged: Plan) -> Mix:
    """The mix that says how all is merged: the first that is not linear, else the first."""
    mixes = list(merged.values())
    return next((mix for mix in mixes if mix.method != "linear"), mixes[0])


def _slice(
    form: Mergekit,
    method: str,
    modules: Mapping[str, Mix],
    outside: Mapping[str, Mix],
    span: tuple[int, int],
    models: Mapping[str, Any],
) -> dict[str, Any]:
    """One run of layers whose modules are made alike, from all sources."""
    found: list[dict[str, Any]] = []
    mix = next(iter(modules.values()))
    for source, model in models.items():
        entry: dict[str, Any] = {"model": model, "layer_range": list(span)}
        if form is not _COPY and not form.between and (method == "linear" or source != "base"):
            weight = _setting(modules, outside, source)
            entry["parameters"] = {"weight": weight, **form.settings(mix)}
        found.append(entry)
    whole: dict[str, Any] = {"sources": found}
    if form.between:  # between the first source, t = 0, and the second
        whole["parameters"] = {"t": _setting(modules, outside, list(models)[1])}
    return whole


def _setting(modules: Mapping[str, Mix], outside: Mapping[str, Mix], source: str) -> Any:
    """A source's coefficient; for parts of layers and tensors outside with others, one for each."""
    of = {f".{name}.": dict(mix.terms).get(source, 0.0) for name, mix in modules.items()}
    value = next(reversed(of.values()))
    parts = {name: other for name, other in of.items() if other != value}
    values = {name: dict(other.terms).get(source, 0.0) for name, other in outside.items()}
    if not parts and set(values.values()) <= {value}:
        return value
    values |= parts
    return [{"filter": name, "value": v} for name, v in values.items()] + [{"value": value}]
