"""Figures of the recipes themselves: the landscape over b and u, and who owns which layer."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from search.merging.layers import in_words, layers_of
from search.merging.mix import Mix
from search.merging.recipe import Layered
from search.report.material import Material
from search.report.plot import SCALE, Plot, axis, lines, points, text

TEXTS = 40
"""Layers up to which each cell is labelled: more are too narrow for it."""
_LARGEST = 2**26


def landscape(study: Material) -> Plot | None:
    """The best swap for each (b, u), of the pair and transitions that the reader chooses."""
    main = study.targets[0]
    rows = [
        [*r.recipe.whole(study.n_layers), *_transitions(r.recipe), text(r.recipe.pair),
         points(r.value(main.score)), text(r.label)]
        for r in study.swaps
        if isinstance(r.recipe, Layered)
    ]  # fmt: skip
    if not rows:
        return None
    best = study.final.choice.record.recipe if study.final.choice else None
    frame = list(best.whole(study.n_layers)) if isinstance(best, Layered) else None
    layout = {
        "xaxis": axis("b: bottom layers from the language expert", dtick=1, constrain="domain"),
        "yaxis": axis("u: upper layers from the language expert", dtick=1),
    }
    about = (
        f"The best {main.people} on search items for each number of bottom and upper layers. "
        f"{'The frame is the best recipe. ' if frame else ''}"
        "Choose a pair and transitions to see these alone; an empty cell was not tried."
    )
    extra = {
        "rows": rows,
        "more": main.direction == "maximize",
        "best": frame,
        "people": text(main.people),
        "scale": SCALE,
    }
    return Plot("landscape", "Landscape over b and u", about, [], layout, 480, points=extra)


def _transitions(recipe: Layered) -> tuple[float, float]:
    """Transition layers at both ends; none of a form that has no zones."""
    numbers = recipe.numbers()
    return numbers.get("t_b", 0), numbers.get("t_u", 0)


def owners(study: Material) -> Plot | None:
    """Who owns which layer in the recipes of the final table; None where it has no row."""
    found = study.report.lines
    if not found:
        return None
    columns = [*map(str, range(study.n_layers)), "rest"]
    grid, texts, beside = [], [], []
    names = [text(f"{x.role}: {x.record.label.partition(' ')[2]}") for x in found]
    for line in found:
        layers = layers_of(line.record.recipe, study.n_layers)
        mixes = [*layers.each, layers.outside]
        grid.append([_share(mix) for mix in mixes])
        texts.append([_short(mix) for mix in mixes])
        beside.append(
            [
                lines(f"{'embeddings, norm, head' if c == 'rest' else f'layer {c}'}", in_words(mix))
                for c, mix in zip(columns, mixes, strict=True)
            ]
        )
    places = list(range(len(names)))
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": columns,
        "y": places,
        "z": grid,
        "hovertext": beside,
        "hoverinfo": "text",
        "colorscale": SCALE,
        "zmin": 0,
        "zmax": 1,
        "xgap": 1,
        "ygap": 3,
        "colorbar": {"title": {"text": "language<br>expert"}, "thickness": 12, "tickformat": ".0%"},
    }
    if len(columns) <= TEXTS + 1:
        trace |= {"text": texts, "texttemplate": "%{text}"}
    layout = {
        "xaxis": axis("layer", type="category"),
        "yaxis": {
            "tickvals": places, "ticktext": names, "autorange": "reversed", "automargin": True
        },
    }  # fmt: skip
    about = (
        "Each row is a recipe of the final table; the shade is the share of the language expert in "
        "a layer, m and l are the numbers of the task and language experts. Rest: embeddings, "
        "final norm and head. Without a shade: neither expert, such as the base."
    )
    height = 140 + 30 * len(names)
    return Plot("owners", "Who owns which layer", about, [trace], layout, height)


def _share(mix: Mix) -> float | None:
    """The language experts' share of the experts in a mix; None where no expert is in it."""
    parts = {"task": 0.0, "lang": 0.0}
    for term in mix.terms:
        kind = term.source.partition("/")[0]
        if kind in parts:
            parts[kind] += abs(term.coefficient)
    total = sum(parts.values())
    return round(parts["lang"] / total, 4) if total else None


def _short(mix: Mix) -> str:
    """A cell's label: the one source, or the language expert's percent."""
    sources = [term.source for term in mix.terms if term.coefficient]
    share = _share(mix)
    if share is None:
        return ""
    if len(sources) == 1:
        kind, _, number = sources[0].partition("/")
        return text(f"{'m' if kind == 'task' else 'l'}{number}")
    return f"{share:.0%}"


def vectors(study: Material, folders: Sequence[Path]) -> Plot | None:
    """Where the experts changed, as `search.inspect` measured it; None where it did not.

    Args:
        study: whose experts they are.
        folders: where its expert_vectors.csv may be; the first that fits is taken.
    """
    for folder in folders:
        shares = _measured(folder / "expert_vectors.csv", study.n_layers)
        if shares:
            break
    else:
        return None
    experts = sorted(shares)
    columns = list(map(str, range(study.n_layers)))
    grid = [[points(shares[expert].get(i)) for i in range(study.n_layers)] for expert in experts]
    trace = {
        "type": "heatmap",
        "x": columns,
        "y": list(map(text, experts)),
        "z": grid,
        "colorscale": SCALE,
        "xgap": 1,
        "ygap": 3,
        "hovertemplate": "%{y}, layer %{x}: %{z:.1f}%<extra></extra>",
        "colorbar": {"title": {"text": "changed<br>columns %"}, "thickness": 12},
    }
    layout = {"xaxis": axis("layer", type="category"), "yaxis": axis("", autorange="reversed")}
    about = (
        "Where fine-tuning changed each expert: the share of changed input columns, averaged over "
        "the matrices of a layer (python -m search.inspect)."
    )
    height = 140 + 30 * len(experts)
    return Plot("vectors", "Where the experts changed", about, [trace], layout, height)


def _measured(file: Path, n_layers: int) -> Mapping[str, Mapping[int, float]]:
    """Expert -> layer -> mean share; empty where the file is none, or of other models."""
    try:
        if file.stat().st_size > _LARGEST:
            return {}
        rows = list(_cells(file.read_text("utf-8-sig")))
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return {}
    found: dict[str, dict[int, list[float]]] = {}
    for expert, layer, share in rows:
        found.setdefault(expert, {}).setdefault(layer, []).append(share)
    if {layer for layers in found.values() for layer in layers} != set(range(n_layers)):
        return {}
    return {
        expert: {layer: fmean(shares) for layer, shares in layers.items()}
        for expert, layers in found.items()
    }


def _cells(table: str) -> Iterator[tuple[str, int, float]]:
    for row in csv.DictReader(table.splitlines()):
        if row["layer"]:
            yield row["expert"], int(row["layer"]), float(row["share"])
