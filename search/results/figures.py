"""The two pictures of a study: its first two targets against each other, the first over (b, u).

Owns how they look. Drawn from the trials on search items; draws without a display. Knows nothing of
what is recommended or why: the choice is given.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from numpy import linspace

from objectives import targets
from objectives.letters import visible
from objectives.words import counted
from search.merging.recipe import Layered, LayerSwap, Recipe, Single, canonical, key
from search.merging.source import Source
from search.records.durable import write_whole
from search.records.record import Record
from search.results.choose import (
    DEFAULT,
    LANG_EXPERT,
    RECOMMENDED,
    SOUP,
    TASK_EXPERT,
    Choice,
    best_soup,
    is_soup,
    pareto,
    role_of,
    scored,
)

_MARKERS = {  # kind of recipe -> marker, colour, size in points squared
    "swap": ("o", "#9aa5b1", 26),
    "soup": ("D", "#2f9e63", 44),
    TASK_EXPERT: ("^", "#d9730d", 62),
    LANG_EXPERT: ("v", "#7b4fb5", 62),
    "base": ("s", "#444444", 50),
    "reference": ("P", "#8d6e63", 62),
    DEFAULT: ("h", "#1971c2", 80),
    RECOMMENDED: ("*", "#e03131", 230),
}
_OFFSETS = [(x, y) for r in (9, 16, 26) for x, y in ((r, 0), (0, r), (0, -r), (-r, 0))]
_OFFSETS += [(x, y) for r in (9, 18) for x, y in ((r, r), (r, -r), (-r, r), (-r, -r))]


def draw(
    records: Sequence[Record],
    choice: Choice | None,
    default: LayerSwap,
    folder: Path,
    *,
    family: str,
    lang: str,
    n_layers: int,
) -> list[Path]:
    """Write pareto.png and landscape.png.

    Args:
        records: trials of the study; those scored on search items are drawn.
        choice: the recommended recipe, which gets the star.
        default: the paper's default recipe, scaled to this model.
        folder: where to.
        family: name of the family, for the titles.
        lang: language code, for the titles.
        n_layers: the model's number of layers L.

    Returns:
        The files written: none if no trial was scored, no landscape if no swap was.
    """
    trials = scored(records)
    title = f"{family} / {lang}"
    chosen = choice.record.key if choice else ""
    files = []
    if len(targets.TARGETS) > 1 and any(_point(r) is not None for r in trials):
        kinds = {r.key: kind_of(r, chosen, key(default, n_layers), n_layers) for r in trials}
        soup = best_soup(trials, n_layers)
        names = {r.key: _name(r, kinds[r.key], soup) for r in trials}
        files.append(_pareto(trials, kinds, names, title, folder / "pareto.png"))
    best = _best_of_cells(trials, n_layers)
    if best:
        cell = _cell(choice.record.recipe, n_layers) if choice else None
        files.append(_landscape(best, cell, title, folder / "landscape.png"))
    return files


def kind_of(record: Record, chosen: str, default: str, n_layers: int) -> str:
    """What a trial is shown as: `swap`, `soup`, or its role.

    Args:
        record: the trial.
        chosen: key of the recommended recipe.
        default: key of the default recipe.
        n_layers: the model's number of layers L.
    """
    if record.key == chosen:
        return RECOMMENDED
    if record.key == default:
        return DEFAULT
    if isinstance(record.recipe, Single):
        source = Source.of(record.recipe.source)
        return source.kind if source.kind == "reference" else role_of(source)
    return "soup" if is_soup(record.recipe, n_layers) else "swap"


def _name(record: Record, kind: str, soup: Record | None) -> str:
    """What stands beside a point: baselines only; the legend names the two recipes that matter."""
    if kind == "soup":
        return SOUP if soup and soup.key == record.key else ""
    if isinstance(record.recipe, Single) and kind != RECOMMENDED:
        return visible(record.label.rpartition(" ")[2])
    return ""


def _legend(kind: str, group: Sequence[Record]) -> str:
    if kind in (RECOMMENDED, DEFAULT):
        return visible(f"{kind}: {group[0].label.partition(' ')[2]}")
    return f"{kind} ({len(group)})" if kind in ("swap", "soup") else kind


def _pareto(
    trials: Sequence[Record],
    kinds: Mapping[str, str],
    names: Mapping[str, str],
    title: str,
    file: Path,
) -> Path:
    figure, axes = _figure(8.6, 6.0)
    points = {r.key: p for r in trials if (p := _point(r)) is not None}
    front = [points[r.key] for r in pareto(trials)]
    (line,) = axes.step(*zip(*front, strict=True), where="post", color="#e8a0a0", zorder=1)
    line.set_label("Pareto front")
    for kind, (marker, colour, size) in _MARKERS.items():
        group = [r for r in trials if kinds[r.key] == kind and r.key in points]
        if group:
            x, y = zip(*(points[r.key] for r in group), strict=True)
            style = {"edgecolors": "white", "linewidths": 0.7, "zorder": 3}
            axes.scatter(x, y, size, colour, marker=marker, label=_legend(kind, group), **style)
    x_axis, y_axis = targets.TARGETS[:2]
    axes.set_xlabel(f"{x_axis.people} on search items (%)")
    axes.set_ylabel(f"{y_axis.people} on search items (%)")
    axes.set_title(
        f"{title}: {x_axis.people} against {y_axis.people}, {counted(len(points), 'recipe')}"
    )
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.margins(0.09)
    legend = figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure.canvas.draw()  # settles the layout: labels are placed in pixels
    steps = [(x, y) for (x0, y), (x1, _) in pairwise(front) for x in linspace(x0, x1, 25)]
    _place_labels(figure, axes, points, names, [*points.values(), *steps])
    return _save(figure, file)


def _place_labels(
    figure: Any,
    axes: Any,
    points: Mapping[str, tuple[float, float]],
    names: Mapping[str, str],
    drawn: Sequence[tuple[float, float]],
) -> None:
    """Put each name at the place around its point that hides least of other names and `drawn`."""
    renderer = figure.canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    pixels = [axes.transData.transform(point) for point in drawn]
    taken: list[Any] = []
    for k in sorted((k for k in points if names.get(k)), key=lambda k: (-len(names[k]), k)):
        best: tuple[float, Any, Any] | None = None
        for place, (dx, dy) in enumerate(_OFFSETS):
            text = axes.annotate(
                names[k],
                points[k],
                (dx, dy),
                textcoords="offset points",
                ha="left" if dx > 0 else "right" if dx < 0 else "center",
                va="bottom" if dy > 0 else "top" if dy < 0 else "center",
                fontsize=8,
                zorder=4,
                parse_math=False,
            )
            box = text.get_window_extent(renderer)
            hidden = sum(box.padded(4).contains(*pixel) for pixel in pixels)
            crossed = sum(box.padded(2).overlaps(other) for other in taken)
            outside = not (frame.containsx(box.x0) and frame.containsx(box.x1))
            outside |= not (frame.containsy(box.y0) and frame.containsy(box.y1))
            cost = 100 * crossed + 100 * outside + hidden + place / 100
            if best is None or cost < best[0]:
                if best:
                    best[1].remove()
                best = (cost, text, box)
            else:
                text.remove()
        if best:
            taken.append(best[2])


def _cell(recipe: Recipe, n_layers: int) -> tuple[int, int] | None:
    """Whole bottom and upper layers; None for language experts, averages, all that is no swap."""
    form = canonical(recipe, n_layers)
    if not isinstance(form, Layered):
        return None
    cell, (_, averaged) = form.whole(n_layers), form.size(n_layers)
    return None if n_layers in (cell[0], averaged) else cell


def _best_of_cells(trials: Sequence[Record], n_layers: int) -> dict[tuple[int, int], float]:
    """(b, u) -> the first target's best value among its swaps, in percent."""
    main = targets.TARGETS[0]
    best: dict[tuple[int, int], float] = {}
    for record in trials:
        cell, share = _cell(record.recipe, n_layers), record.value(main.score)
        if cell is not None and share is not None:
            best[cell] = max(best.get(cell, 100 * share), 100 * share, key=main.gain)
    return best


def _landscape(
    best: Mapping[tuple[int, int], float], chosen: tuple[int, int] | None, title: str, file: Path
) -> Path:
    from matplotlib.patches import Rectangle

    bottom, upper = (range(max(cell[i] for cell in best) + 1) for i in (0, 1))
    grid = [[best.get((b, u), float("nan")) for b in bottom] for u in upper]
    sides = [min(0.62 * len(side), 14.0) for side in (bottom, upper)]
    figure, axes = _figure(max(6.4, sides[0] + 2.4), max(3.6, sides[1] + 1.6))
    image = axes.imshow(grid, origin="lower", cmap="viridis", aspect="auto")
    axes.set_facecolor("#f1f1f1")
    middle = (min(best.values()) + max(best.values())) / 2
    font = 9 if max(len(bottom), len(upper)) <= 14 else 7
    for (b, u), percent in best.items():
        colour = "black" if percent > middle else "white"
        axes.text(b, u, f"{percent:.1f}", ha="center", va="center", color=colour, fontsize=font)
    main = targets.TARGETS[0].people
    heading = f"{title}: best search {main} (%) for each (b, u)\nover all pairs and transitions"
    if chosen is not None and chosen in best:
        corner = (chosen[0] - 0.48, chosen[1] - 0.48)
        axes.add_patch(
            Rectangle(corner, 0.96, 0.96, fill=False, edgecolor="#e03131", linewidth=2.5)
        )
        heading += "; red frame: the recommended recipe's"
    axes.set_xticks(bottom)
    axes.set_yticks(upper)
    axes.set_xlabel("b: bottom layers from the language expert")
    axes.set_ylabel("u: upper layers from the language expert")
    axes.set_title(heading, fontsize=10)
    figure.colorbar(image, label=f"{main} on search items (%)")
    return _save(figure, file)


def _point(record: Record) -> tuple[float, float] | None:
    x, y = (record.value(target.score) for target in targets.TARGETS[:2])
    return None if x is None or y is None else (100 * x, 100 * y)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    """A figure on the Agg canvas, without pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _save(figure: Any, file: Path) -> Path:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})  # the same for the same trials
    write_whole(file, drawn.getvalue())
    return file
