"""The studies of several languages side by side: one table, in the terminal, as HTML and as TSV.

Owns which recipes of each study's final table stand in it and how it looks. Only held-out scores
are shown: a study without them has an empty row, and its state says why.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from objectives import targets
from search.common.values import in_markdown, percent
from search.merging.recipe import Single
from search.merging.source import Source
from search.records.durable import write_whole
from search.results.choose import DEFAULT, RECOMMENDED, SOUP, best_first
from search.results.comparison import Report, ReportLine

EXPERT, BASE = "best expert", "base"
COLUMNS = (RECOMMENDED, DEFAULT, SOUP, EXPERT, BASE)
"""What stands beside each language, from left to right."""
FILES = ("summary.html", "summary.tsv")
_STYLE = (
    ":root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;margin:2rem}"
    "table{border-collapse:collapse}th,td{padding:.4rem .8rem;text-align:right;"
    "border-bottom:1px solid GrayText}th:first-child,td:first-child{text-align:left}"
    "small{display:block;color:GrayText}"
)


@dataclass(frozen=True)
class Row:
    """One language.

    Attributes:
        lang: its code.
        study: name of its study.
        state: how the study stands, for people.
        report: its final table; None where none could be made.
    """

    lang: str
    study: str
    state: str
    report: Report | None = None

    def lines(self) -> dict[str, ReportLine]:
        """Column -> its line of the final table; those that there are."""
        if self.report is None or self.report.split != "held_out":
            return {}
        lines = self.report.lines
        found = {n: x for n in (RECOMMENDED, DEFAULT, SOUP) for x in lines if n in x.roles}
        experts = [x for x in lines if _source(x) and Source.of(_source(x)).is_expert]
        if experts:
            found[EXPERT] = min(experts, key=lambda line: best_first(line.record))
        if base := [x for x in lines if _source(x) == BASE]:
            found[BASE] = base[0]
        return found


def table(rows: Sequence[Row]) -> Table:
    """For a terminal: the targets of each recipe on held-out items, in percent."""
    shown = Table(box=SIMPLE_HEAD, title=_title(), title_justify="left", pad_edge=False)
    shown.add_column("language")
    for name in COLUMNS:
        shown.add_column(name, justify="right", overflow="fold")
    shown.add_column("study", overflow="fold")
    for row in rows:
        lines = row.lines()
        cells = [_scores(lines[name]) if name in lines else "–" for name in COLUMNS]
        shown.add_row(*map(Text, (row.lang, *cells, row.state)))
    return shown


def markdown(rows: Sequence[Row]) -> str:
    """The same for MLflow."""
    lines = [f"| language | {' | '.join(COLUMNS)} | study |"]
    lines.append("| --- |" + " ---: |" * len(COLUMNS) + " --- |")
    for row in rows:
        own = row.lines()
        cells = [_scores(own[name]) if name in own else "–" for name in COLUMNS]
        state = f"{in_markdown(row.study)}: {in_markdown(row.state)}"
        lines.append(f"| {row.lang} | {' | '.join(cells)} | {state} |")
    return "\n".join([f"{_title()}:", "", *lines])


def metrics(rows: Sequence[Row]) -> dict[str, float]:
    """What each language's recipes score, in percent, such as `te_recommended_accuracy`."""
    return {
        f"{row.lang}_{name.replace(' ', '_')}_{target.score}": 100 * value
        for row in rows
        for name, line in row.lines().items()
        for target in targets.TARGETS
        if (value := line.score(target.score).value) is not None
    }


def html(rows: Sequence[Row]) -> str:
    """A page that needs nothing else, light or dark as its reader has it."""
    heads = "".join(f'<th scope="col">{escape(x)}</th>' for x in ("language", *COLUMNS, "study"))
    body = []
    for row in rows:
        lines = row.lines()
        cells = [_cell(lines.get(name)) for name in COLUMNS]
        study = f"<td>{escape(row.state)}<small>{escape(row.study)}</small></td>"
        body.append(f'<tr><th scope="row">{escape(row.lang)}</th>{"".join(cells)}{study}</tr>')
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Languages</title>'
        f"<style>{_STYLE}</style></head><body><h1>Languages</h1><p>{escape(_title())}</p>\n"
        f"<table><thead><tr>{heads}</tr></thead><tbody>\n" + "\n".join(body) + "\n"
        "</tbody></table></body></html>\n"
    )


def tsv(rows: Sequence[Row]) -> str:
    """A line for each language and recipe, one value in each column, in percent."""
    scores = [target.score for target in targets.TARGETS]
    names = [f"{score}{end}" for score in scores for end in ("", "_low", "_high")]
    table = [["lang", "study", "state", "what", "label", *names]]
    for row in rows:
        lines = row.lines()
        for what in COLUMNS:
            line = lines.get(what)
            cells = [row.lang, row.study, row.state, what, line.record.label if line else ""]
            for score in (line.score(name) if line else None for name in scores):
                shares = (score.value, score.low, score.high) if score else (None,) * 3
                cells += ["" if share is None else percent(share) for share in shares]
            table.append(cells)
    return "".join("\t".join(re.sub(r"\s", " ", cell) for cell in row) + "\n" for row in table)


def write(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write summary.html and summary.tsv into a folder."""
    files = [folder / name for name in FILES]
    for file, text in zip(files, (html(rows), tsv(rows)), strict=True):
        write_whole(file, text.encode(errors="backslashreplace"))
    return files


def _source(line: ReportLine) -> str:
    """Name of the checkpoint that a line is; empty for a merge."""
    recipe = line.record.recipe
    return recipe.source if isinstance(recipe, Single) else ""


def _scores(line: ReportLine) -> str:
    return "/".join(percent(line.score(target.score).value) for target in targets.TARGETS)


def _cell(line: ReportLine | None) -> str:
    if line is None:
        return "<td>–</td>"
    return f"<td>{escape(_scores(line))}<small>{escape(line.record.label)}</small></td>"


def _title() -> str:
    return f"held-out {' / '.join(target.people for target in targets.TARGETS)}, in percent"
