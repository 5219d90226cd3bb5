"""A recipe as a mergekit configuration (mergekit 0.1.5), for people who want the merge from there.

Owns how plans become mergekit's slices, weights and filters. Two traps of mergekit shape it:
embeddings follow the first slice and norm and head the last, so every slice lists every source, the
unused ones with weight 0, and the first and the last name the tensors without a layer number; and
mergekit computes in the checkpoint's dtype unless told `dtype: float32`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from search.merging.plan import Mix, layer_of, plan
from search.merging.recipe import Recipe, label

_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_DARE = (
    "# mergekit draws its own random numbers, and scales what it keeps to the sum of magnitudes\n"
    "# before instead of dividing by the density: the same method, not the same weights.\n"
)


def mergekit_yaml(
    recipe: Recipe, models: Mapping[str, str], names: Iterable[str], n_layers: int, dtype: str
) -> str:
    """The configuration that `mergekit-yaml` takes.

    Args:
        recipe: what to merge.
        models: source name -> folder or hub id (`org/name@revision`), for `base` and each expert.
        names: the checkpoint's tensor names.
        n_layers: the model's number of layers L.
        dtype: of the checkpoint, by safetensors' name (`BF16`, `F16`, `F32`).

    Raises:
        RecipeError: the recipe is not valid for L.
    """
    merged = plan(recipe, names, n_layers)
    layers = {layer: mix for name, mix in merged.items() if (layer := layer_of(name)) is not None}
    outside = {name: mix for name, mix in merged.items() if layer_of(name) is None}
    sources = sorted({s for mix in merged.values() for s in mix.sources}, key=_order)
    method = _method(list(merged.values()), sources)
    runs = itertools.groupby(range(n_layers), key=lambda layer: layers[layer])
    slices = []
    for mix, run in runs:
        numbers = list(run)
        ends = outside if 0 in numbers or n_layers - 1 in numbers else {}
        span = numbers[0], numbers[-1] + 1
        slices.append(_slice(method, mix, ends, span, {s: models[s] for s in sources}))
    config: dict[str, Any] = {
        "merge_method": method,
        "base_model": models[sources[0] if method == "slerp" else "base"],
        "slices": slices,
    }
    if method == "ties":
        config["parameters"] = {"normalize": True, "lambda": layers[0].scale}
    elif method not in ("passthrough", "slerp"):
        config["parameters"] = {"normalize": False}
    config |= {"dtype": "float32", "out_dtype": _DTYPES[dtype]}
    head = label(recipe, "#", n_layers) + "\n" + (_DARE if method == "dare_linear" else "")
    return head + yaml.safe_dump(config, sort_keys=False, default_flow_style=None)


def _order(source: str) -> tuple[int, int]:
    kind, _, number = source.partition("/")
    place = {"task": 0, "lang": 1}.get(kind, 2)
    return place, int(number) if place < 2 else 0


def _method(mixes: list[Mix], sources: list[str]) -> str:
    found = {mix.method for mix in mixes} - {"linear"}
    return found.pop() if found else "linear" if len(sources) > 1 else "passthrough"


def _slice(
    method: str,
    mix: Mix,
    outside: Mapping[str, Mix],
    span: tuple[int, int],
    models: Mapping[str, str],
) -> dict[str, Any]:
    """One run of layers that are made alike, from all sources."""
    found: list[dict[str, Any]] = []
    for source, model in models.items():
        entry: dict[str, Any] = {"model": model, "layer_range": list(span)}
        if method == "linear" or (method not in ("passthrough", "slerp") and source != "base"):
            entry["parameters"] = {"weight": _setting(mix, outside, source)}
            if method in ("ties", "dare_linear"):
                entry["parameters"]["density"] = mix.density
        found.append(entry)
    whole: dict[str, Any] = {"sources": found}
    if method == "slerp":  # between the first source, t = 0, and the second
        whole["parameters"] = {"t": _setting(mix, outside, list(models)[1])}
    return whole


def _setting(mix: Mix, outside: Mapping[str, Mix], source: str) -> Any:
    """A source's coefficient; where tensors without a layer number have others, one for each."""
    value = dict(mix.terms).get(source, 0.0)
    values = {name: dict(other.terms).get(source, 0.0) for name, other in outside.items()}
    if set(values.values()) <= {value}:
        return value
    return [{"filter": name, "value": v} for name, v in values.items()] + [{"value": value}]
