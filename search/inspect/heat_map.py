"""How expert vectors are shown: a picture with a map for each expert; tables for the terminal.

Owns how they look; draws without a display. What is measured and suggested is given.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich import box
from rich.table import Table
from rich.text import Text

from search.inspect.expert_vectors import ExpertVectors
from search.inspect.suggest import LayerRange, Suggestion
from search.merging.source import Source
from search.records.durable import write_whole

_COLOURS = {"lang": "#7b4fb5", "task": "#d9730d"}  # as in `search.results.figures`
_MAP = colormaps["viridis"]


def draw(
    vectors: ExpertVectors, suggestion: Suggestion, names: Mapping[str, str], title: str, file: Path
) -> Path:
    """Write the picture: layers from bottom to top, matrices from left to right.

    Args:
        vectors: what was measured.
        suggestion: whose lead and ranges are drawn beside the maps.
        names: expert -> what stands over its map.
        title: of the whole.
        file: the PNG to write; the same bytes for the same input.
    """
    matrices, n_layers = vectors.matrices, vectors.n_layers
    widths = [0.24 * len(matrices)] * len(names) + [1.9, 1.9]
    height = min(max(0.27 * n_layers, 2.2), 12.0)
    figure = Figure(figsize=(sum(widths) + 1.4, height + 2.3), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(widths), sharey=True, gridspec_kw={"width_ratios": widths})
    image: Any = None
    for place, (expert, name) in zip(axes, names.items(), strict=False):
        shares = _shares(vectors, expert)
        grid = [[shares.get((i, m), math.nan) for m in matrices] for i in range(n_layers)]
        image = place.imshow(grid, origin="lower", aspect="auto", cmap=_MAP, vmin=0, vmax=1)
        ticks = {"rotation": 90, "fontsize": 7.5, "parse_math": False}
        place.set_xticks(range(len(matrices)), map(_short, matrices), **ticks)
        place.axvline(len(matrices) - vectors.n_vectors - 0.5, color="white", linewidth=1.5)
        colour = _COLOURS[expert.partition("/")[0]]
        place.set_title(name, fontsize=9, color=colour, parse_math=False)
    step = max(1, math.ceil(n_layers / 16))
    axes[0].set_yticks(range(0, n_layers, step))
    axes[0].set_ylabel("layer")
    figure.colorbar(image, ax=axes[: len(names)], label="share of changed input columns", pad=0.01)
    _draw_lead(axes[-2], suggestion, n_layers)
    _draw_cosines(axes[-1], vectors)
    figure.suptitle(title, fontsize=11)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    write_whole(file, drawn.getvalue())
    return file


def _draw_lead(axes: Any, suggestion: Suggestion, n_layers: int) -> None:
    """Bars of the lead; grey where the suggested boundaries of the two ends may lie."""
    colours = [_COLOURS["lang" if lead > 0 else "task"] for lead in suggestion.lead]
    axes.barh(
        range(n_layers),
        [100 * lead for lead in suggestion.lead],
        color=colours,
        height=0.8,
        zorder=2,
    )
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_title("language lead\n(grey: where it may end)", fontsize=9)
    axes.set_xlabel("% of an expert's changed\ncolumns: language - task", fontsize=8)
    axes.tick_params(labelsize=8)
    if suggestion.b and suggestion.u:
        bands = (suggestion.b, (n_layers - suggestion.u[1], n_layers - suggestion.u[0]))
        for name, (low, high) in zip(("b", "u"), bands, strict=True):
            axes.axhspan(low - 0.5, high - 0.5, color="#e3e3e3", zorder=0)
            text = f"{name} {_range(getattr(suggestion, name))}"
            place = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
            axes.text(0.97, (low + high - 1) / 2, text, fontsize=8, **place)


def _draw_cosines(axes: Any, vectors: ExpertVectors) -> None:
    kinds: dict[str, list[tuple[float, ...]]] = {}
    for (a, b), cosines in vectors.cosines.items():
        kinds.setdefault(f"{a.partition('/')[0]} - {b.partition('/')[0]}", []).append(cosines)
    colours = {
        "task - task": _COLOURS["task"],
        "lang - lang": _COLOURS["lang"],
        "task - lang": "#1971c2",
    }
    layers = range(vectors.n_layers)
    for kind, lines in kinds.items():
        for cosines in lines if len(lines) > 1 else []:
            axes.plot(cosines, layers, color=colours[kind], alpha=0.3, linewidth=0.8)
        mean = [fmean(values) for values in zip(*lines, strict=True)]
        axes.plot(mean, layers, color=colours[kind], linewidth=1.8, label=kind)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_xlim(min(-0.1, axes.get_xlim()[0]), 1.0)
    axes.set_title("cosine of\nexpert vectors", fontsize=9)
    axes.set_xlabel("thin: pairs, thick: mean", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.6)
    below = -0.55 / (axes.get_position().height * axes.figure.get_figheight())  # inches
    axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, below))


def layer_table(vectors: ExpertVectors, suggestion: Suggestion) -> Table:
    """Share of changed columns by layer and expert, top layer first as in the picture."""
    table = _table("changed input columns (%) by layer, all matrices", vectors.experts, "layer")
    table.add_column("lead", justify="right")
    table.add_column("cos", justify="right")
    table.add_column("from", no_wrap=True)
    across = [c for (a, b), c in vectors.cosines.items() if Source.of(a).kind != Source.of(b).kind]
    for layer in reversed(range(vectors.n_layers)):
        cosine = fmean(cosines[layer] for cosines in across)
        table.add_row(
            str(layer),
            *(_percent(vectors.shares[expert][layer]) for expert in vectors.experts),
            f"{round(100 * suggestion.lead[layer], 1) + 0.0:+.1f}",
            "" if math.isnan(cosine) else f"{round(cosine, 2) + 0.0:+.2f}",
            _zone(layer, vectors.n_layers, suggestion),
        )
    table.caption = (
        "lead: part of their changed columns that the language experts have here less the task "
        "experts' (%); cos: mean cosine, task with language experts; from: expert in the suggested "
        "ranges, transitions aside"
    )
    return table


def matrix_table(vectors: ExpertVectors) -> Table:
    """Share of changed columns by matrix and expert, mean over the layers; then what is outside."""
    table = _table("changed input columns (%) by matrix", vectors.experts, "matrix")
    outside = dict.fromkeys(c.matrix for c in vectors.cells if c.layer is None)
    shares = {expert: _shares(vectors, expert) for expert in vectors.experts}
    for matrix in vectors.matrices:
        of = [[s for (i, m), s in shares[e].items() if m == matrix] for e in vectors.experts]
        table.add_row(matrix, *(_percent(fmean(layers)) for layers in of))
    table.add_section()
    for name in outside:
        table.add_row(name, *(_percent(shares[e][None, name]) for e in vectors.experts))
    return table


def _table(title: str, experts: Sequence[str], first: str) -> Table:
    table = Table(
        title=title, title_justify="left", caption_justify="left", box=box.SIMPLE, padding=(0, 1)
    )
    table.add_column(first, no_wrap=True, justify="right" if first == "layer" else "left")
    for expert in experts:
        table.add_column(expert.replace("/", "\n"), justify="right", no_wrap=True)
    return table


def _percent(share: float) -> Text:
    """A number on the colour that it has in the picture."""
    red, green, blue = (round(255 * part) for part in _MAP(share)[:3])
    ink = "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 120 else "white"
    return Text(f"{100 * share:.0f}", style=f"{ink} on rgb({red},{green},{blue})")


def _zone(layer: int, n_layers: int, suggestion: Suggestion) -> str:
    """Which expert the layer comes from, whatever b and u are in their ranges."""
    if not (suggestion.b and suggestion.u):
        return ""
    above = n_layers - 1 - layer
    if layer < suggestion.b[0] or above < suggestion.u[0]:
        return "language"
    if layer < suggestion.b[1] or above < suggestion.u[1]:
        return "either"
    return "task"


def _shares(vectors: ExpertVectors, expert: str) -> dict[tuple[int | None, str], float]:
    return {(c.layer, c.matrix): c.share for c in vectors.cells if c.expert == expert}


def _short(matrix: str) -> str:
    """`self_attn.q_proj` -> `q_proj`; biases keep the name of their matrix."""
    parts = matrix.split(".")
    return ".".join(parts[-2:]) if parts[-1] == "bias" else parts[-1]


def _range(found: LayerRange) -> str:
    return f"{found[0]}" if found[0] == found[1] else f"{found[0]}-{found[1]}"
