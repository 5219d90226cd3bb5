"""Figures of the scores of all trials: the first two targets, and the recipe's parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from objectives.target import Target
from search.merging.recipe import Layered
from search.records.record import Record
from search.report.material import RIVAL, Material, shown
from search.report.plot import (
    BLUE,
    GREEN,
    INK,
    LINES,
    MUTED,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Plot,
    axis,
    lines,
    points,
    text,
)
from search.results.choose import DEFAULT, LANG_EXPERT, RECOMMENDED, TASK_EXPERT, pareto
from search.study.floors import Floor

_MARKERS = {  # kind of recipe -> symbol, colour, size
    "swap": ("circle", BLUE, 8),
    "soup": ("diamond", GREEN, 10),
    RIVAL: ("cross", VERMILLION, 9),
    TASK_EXPERT: ("triangle-up", VERMILLION, 12),
    LANG_EXPERT: ("triangle-down", PURPLE, 12),
    "base": ("square", INK, 10),
    "reference": ("pentagon", INK, 11),
    DEFAULT: ("hexagon", SKY, 14),
    RECOMMENDED: ("star", ORANGE, 18),
}
_GREYED = {"stopped": "x-thin", "infeasible": "cross-thin"}


def scatter(study: Material) -> Plot | None:
    """The first two targets of every trial that has them; None where there are none."""
    if len(study.targets) < 2:
        return None
    x, y = study.targets[:2]
    data: list[dict[str, Any]] = []
    for state, symbol in _GREYED.items():
        group = [r for r in study.search if r.state == state and _placed(study, r)]
        if group:
            marker = {"symbol": symbol, "color": MUTED, "size": 8}
            marker["line"] = {"color": MUTED, "width": 1.5}
            name = {"stopped": "stopped early, on its first items"}.get(state, state)
            data.append(_trace(study, group, f"{name} ({len(group)})", marker))
    front = [(r.value(x.score) or 0, r.value(y.score) or 0) for r in pareto(study.search)]
    if front:
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "Pareto front",
                "x": [points(one) for one, _ in front],
                "y": [points(other) for _, other in front],
                "line": {"shape": "hv", "color": VERMILLION, "width": 1, "dash": "dot"},
                "hoverinfo": "skip",
            }
        )
    for kind, (symbol, colour, size) in _MARKERS.items():
        group = [
            r
            for r in study.search
            if r.state == "scored" and study.kinds[r.key] == kind and _placed(study, r)
        ]
        if group:
            marker = {"symbol": symbol, "color": colour, "size": size, "opacity": 0.9}
            marker["line"] = {"color": "var(--paper)", "width": 1}
            data.append(_trace(study, group, f"{kind} ({len(group)})", marker))
    if not data:
        return None
    shapes, notes = _floors(study)
    layout = {
        "xaxis": axis(f"{x.people} on search items (%)"),
        "yaxis": axis(f"{y.people} on search items (%)"),
        "shapes": shapes,
        "annotations": notes,
        "hovermode": "closest",
        "legend": {"orientation": "h", "y": -0.2},
    }
    about = (
        f"Each point is a recipe on the search items; what is beside it shows the 95% intervals. "
        f"Dashed lines are the floors of {y.people}: a language expert's less "
        f"{points(study.final.config.search.tolerance):g} points. Grey: trials that were stopped "
        "early, or are infeasible."
    )
    return Plot(
        "scatter",
        f"{x.people[:1].upper()}{x.people[1:]} against {y.people}",
        about,
        data,
        layout,
        520,
    )


def _placed(study: Material, record: Record) -> bool:
    return all(record.value(target.score) is not None for target in study.targets[:2])


def _trace(
    study: Material, group: Sequence[Record], name: str, marker: dict[str, Any]
) -> dict[str, Any]:
    x, y = study.targets[:2]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": text(name),
        "x": [points(r.value(x.score)) for r in group],
        "y": [points(r.value(y.score)) for r in group],
        "text": [beside(study, r) for r in group],
        "hoverinfo": "text",
        "marker": marker,
    }


def beside(study: Material, record: Record) -> str:
    """What is shown beside a point: the recipe, its scores with intervals, how it ended."""
    told = (f"{t.people} {shown(record.scores.get(t.score))}" for t in study.targets)
    ended = "" if record.state == "scored" else f"{record.state}: {record.reason}"[:120]
    role = study.roles(record)
    return lines(record.label, *told, ended, role if role not in ("swap", "soup") else "")


def _floors(study: Material) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    target = study.targets[1]
    floor = Floor.of(target, study.search, study.final.config.search.tolerance)
    heights: dict[float, list[str]] = {}
    for source in sorted(floor.experts):
        height = points(target.gain(floor.least(source)))
        assert height is not None
        heights.setdefault(height, []).append(source)
    dash = {"dash": "dash", "width": 1, "color": MUTED}
    shapes = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": h, "y1": h, "line": dash}
        for h in heights
    ]
    notes = [
        {
            "xref": "paper",
            "x": 0,
            "y": h,
            "xanchor": "left",
            "yanchor": "top",
            "showarrow": False,
            "font": {"size": 11, "color": MUTED},
            "text": text(f"floor {', '.join(sources)}"),
        }
        for h, sources in heights.items()
    ]
    return shapes, notes


def coordinates(study: Material) -> Plot | None:
    """Parallel coordinates of the swaps of the form that most have; None if there are not two."""
    forms = Counter(type(r.recipe) for r in study.swaps)
    form = max(forms, key=forms.__getitem__, default=None)
    swaps = [r for r in study.swaps if type(r.recipe) is form]
    if len(swaps) < 2:
        return None
    main = study.targets[0]
    colours = [points(r.value(main.score)) for r in swaps]
    trace = {
        "type": "parcoords",
        "dimensions": list(_dimensions(swaps, study.targets)),
        "line": {
            "color": colours,
            "colorscale": LINES,
            "showscale": True,
            "colorbar": {"title": {"text": text(f"{main.people} %")}, "thickness": 12},
        },
        "labelangle": 0,
    }
    about = (
        f"Each line is a layer swap, coloured by its {main.people}. Drag along an axis to keep the "
        "lines that pass there; drag an axis's name to move it. The table of all trials has the "
        "same numbers."
    )
    layout = {"margin": {"l": 60, "r": 40, "t": 60, "b": 30}}
    return Plot("coordinates", "Recipes in parallel coordinates", about, [trace], layout)


def _dimensions(swaps: Sequence[Record], of: Sequence[Target]) -> Iterator[dict[str, Any]]:
    recipes = [r.recipe for r in swaps if isinstance(r.recipe, Layered)]
    pairs = sorted({recipe.pair for recipe in recipes})
    yield {
        "label": "pair",
        "values": [pairs.index(recipe.pair) for recipe in recipes],
        "tickvals": list(range(len(pairs))),
        "ticktext": pairs,
    }
    for name in recipes[0].numbers():
        values = [round(recipe.numbers()[name], 3) for recipe in recipes]
        few = sorted(set(values))
        counts = all(isinstance(value, int) for value in values)
        ticks = {"tickvals": few} if counts and len(few) <= 12 else {}
        yield {"label": name, "values": values, **ticks}
    for target in reversed(of):
        shares = [points(r.value(target.score)) for r in swaps]
        yield {"label": text(f"{target.people} %"), "values": shares}
