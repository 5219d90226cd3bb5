"""report.html: all parts of the report in one file that asks for nothing from anywhere.

Owns the order of the parts and that plotly.js is in the file once. Texts are escaped by Jinja, what
commands a terminal or turns a line is shown as its escape.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from objectives.letters import visible
from search.report import answers, scores, search, shape, words
from search.report.material import Material
from search.report.plot import Plot

ASSETS = Path(__file__).resolve().parent / "assets"


def page(study: Material, inspected: Sequence[Path] = ()) -> str:
    """The whole page.

    Args:
        study: the study, judged.
        inspected: folders in which `search.inspect` may have left its table.
    """
    made: dict[str, Plot | None] = {
        "scatter": scores.scatter(study),
        "coordinates": scores.coordinates(study),
        "landscape": shape.landscape(study),
        "importance": search.what_matters(study),
        "owners": shape.owners(study),
        "vectors": shape.vectors(study, inspected),
        "progress": search.progress(study),
        "costs": search.costs(study),
    }
    plots = {name: plot for name, plot in made.items() if plot is not None}
    return _template().render(
        study=study,
        best=study.best,
        title=f"{study.best.family} / {study.best.lang}: {study.head.name}",
        searched=words.searched(study),
        final=words.final_table(study),
        where=list(words.where(study)),
        plots=plots,
        compared=list(answers.compared(study)),
        spent=list(search.spent(study)),
        trials=words.all_trials(study),
        inspect=f"python -m search.inspect --lang {study.best.lang} family=YOUR.yaml",
        figures=_in_script([plot.plain() for plot in plots.values()]),
        style=_asset("style.css"),
        script=_asset("page.js"),
        plotly=_plotly(),
    )


def _in_script(value: Any) -> Markup:
    """JSON that cannot end the element it stands in."""
    data = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


@cache
def _asset(name: str) -> Markup:
    return Markup((ASSETS / name).read_text("utf-8"))


@cache
def _plotly() -> Markup:
    """The code of plotly.js, as its package brings it."""
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())


@cache
def _template() -> Template:
    return Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    ).get_template("page.html")


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
