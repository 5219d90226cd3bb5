"""The final table in the terminal, as Markdown and as TSV.

Owns how a comparison looks; what is in it is `search.results.comparison`'s.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from objectives import targets
from objectives.stats import PairedDifference
from objectives.types import Score
from search.common.terminal import Terminal
from search.common.values import in_markdown, percent
from search.records.durable import write_whole
from search.records.record import Record
from search.results.choose import LANG_EXPERT, RECOMMENDED, TASK_EXPERT, best_first
from search.results.comparison import RIVALS, Report, ReportLine, p_value, signed

WIDTH = 110
"""Most columns of what is printed; as many where the terminal's width is not known."""
WIDE = 104
"""Columns that intervals of the differences need."""


def table(report: Report, width: int = WIDTH) -> Table:
    """The table for a terminal; second lines hold intervals, or p-values where it is narrow.

    Of several experts of one kind the best has a row, and a line with the range of them all.
    """
    shown = Table(box=SIMPLE_HEAD, title=report.title, title_justify="left", pad_edge=False)
    shown.collapse_padding = True
    shown.add_column("\nrecipe", overflow="fold")
    main, *_ = scores = [target.score for target in targets.TARGETS]
    measured = [*(target.people for target in targets.TARGETS), f"in {report.lang}"]
    heads = [*(f"{name}\n%" for name in measured), *(f"vs best\n{rival}" for rival in RIVALS)]
    for head in (*heads, "\nitems"):
        shown.add_column(head, justify="right", no_wrap=True)
    for line, *others in _folded(report.lines):
        paired = [_parts(line.difference(main, rival)) for rival in RIVALS]
        if width >= WIDE:
            differences = [f"{number} {p}\n{interval}" for number, interval, p in paired]
        else:
            differences = [f"{number}\n{p}" for number, _, p in paired]
        best = "best " if others else ""
        label = Padding(
            Text(line.record.label, overflow="fold"), (0, 0, 0, 2)
        )  # if wrapped as well
        cells = [
            *("\n".join(_parts(line.score(name))[:2]) for name in scores),
            percent(line.score("in_language").value),
            *differences,
            str(line.score(main).n_scored),
        ]
        style = "bold" if RECOMMENDED in line.roles else ""
        shown.add_row(Group(Text(f"{best}{_role(line)}"), label), *map(Text, cells), style=style)
        if others:
            both = (line, *others)
            shown.add_row(f"  range of the {len(both)}", *(_range(both, name) for name in scores))
    return shown


def plain(console: Console) -> Console:
    """The same, but as wide as a table may be where it is no terminal: plain text."""
    if console.is_terminal:
        return console
    return Terminal(file=console.file, force_terminal=False, width=WIDTH)


def show(report: Report, console: Console) -> None:
    """Print the report, at most `WIDTH` columns wide; report.md has the rows that are folded here.

    A table or a front without a row is left out.
    """
    console = plain(console)
    width = min(console.width, WIDTH)
    if report.no_recommendation:
        why_not = Text(f"no recommendation: {report.no_recommendation}", style="bold")
        console.print(why_not, width=width)
    if report.lines:
        console.print(table(report, width), width=width)
    for note in report.notes:
        console.print(Text(f"- {note}"), width=width)
    if report.front:
        console.print(f"{_front_title()}:", width=width)
    for record in report.front:
        console.print(Text(f"  {_front(record)}"), width=width)


def _shown(report: Report) -> dict[str, str]:
    return targets.shown(name for line in report.lines for name in line.record.scores)


def markdown(report: Report) -> str:
    """The report as Markdown."""
    main, *_ = scores = [target.score for target in targets.TARGETS]
    others = {name: text.format(lang=report.lang) for name, text in _shown(report).items()}
    measured = [*(target.people for target in targets.TARGETS), *others.values()]
    head = ["role", "recipe", *(f"{name} %" for name in measured)]
    head += [*(f"vs best {rival}" for rival in RIVALS), "items"]
    body = [
        [
            _role(line),
            line.record.label,
            *(_one_line(line.score(name)) for name in scores),
            *(percent(line.score(name).value) for name in others),
            *(_one_line(line.difference(main, rival)) for rival in RIVALS),
            str(line.score(main).n_scored),
        ]
        for line in report.lines
    ]
    rule = ["---", "---", *["---:"] * (len(head) - 2)]
    cells = [list(map(in_markdown, row)) for row in (head, rule, *body)]
    text = [f"# {in_markdown(report.title)}", ""]
    if report.no_recommendation:
        text += [f"**No recommendation**: {in_markdown(report.no_recommendation)}", ""]
    if report.lines:
        text += [*("| " + " | ".join(row) + " |" for row in cells), ""]
    text += [*(f"- {in_markdown(note)}" for note in report.notes), ""]
    if report.front:
        text += [f"## {_front_title()}", ""]
    text += [f"- {in_markdown(_front(record).strip())}" for record in report.front]
    return "\n".join(text) + "\n"


def tsv(report: Report) -> str:
    """The table with one value in each column, in percent; empty where there is none."""
    rows: list[dict[str, str]] = []
    for line in report.lines:
        row = {"role": line.role, "label": line.record.label, "key": line.record.key}
        row |= {"split": report.split, "state": line.record.state}
        scores = [target.score for target in targets.TARGETS]
        for name in (*scores, *_shown(report)):
            score = line.score(name)
            row |= {name: _plain(score.value), f"{name}_low": _plain(score.low)}
            row |= {f"{name}_high": _plain(score.high), f"{name}_n": str(score.n_scored)}
        for place, (score_name, rival) in enumerate(itertools.product(scores, RIVALS)):
            name = f"to_{rival}" if place < len(RIVALS) else f"{score_name}_to_{rival}"
            paired = line.difference(score_name, rival)
            row |= {name: _plain(paired.difference if paired else None)}
            row |= {f"{name}_low": _plain(paired.low if paired else None)}
            row |= {f"{name}_high": _plain(paired.high if paired else None)}
            row[f"{name}_p"] = f"{paired.p_value:.2g}" if paired else ""
        rows.append(row)
    names = list(rows[0]) if rows else ["role"]
    lines = (names, *([*row.values()] for row in rows))
    return "".join("\t".join(re.sub(r"\s", " ", cell) for cell in r) + "\n" for r in lines)


def write(report: Report, folder: Path) -> list[Path]:
    """Write report.md and report.tsv into a folder."""
    files = {folder / "report.md": markdown(report), folder / "report.tsv": tsv(report)}
    for file, text in files.items():
        write_whole(file, text.encode(errors="backslashreplace"))
    return list(files)


def _folded(lines: Sequence[ReportLine]) -> Iterable[list[ReportLine]]:
    """The rows of the printed table, each with the lines that it stands for: the best first."""
    rows: dict[str, list[ReportLine]] = {}
    for line in lines:
        alone = line.roles not in ((TASK_EXPERT,), (LANG_EXPERT,))
        rows.setdefault(line.record.key if alone else line.role, []).append(line)
    for row in rows.values():
        yield sorted(row, key=lambda x: (x.record.state != "scored", *best_first(x.record)))


def _range(lines: Iterable[ReportLine], name: str) -> str:
    """A score's lowest and highest value; one number where they are shown alike."""
    values = sorted(value for line in lines if (value := line.score(name).value) is not None)
    return "–".join(dict.fromkeys(map(percent, (*values[:1], *values[-1:]))))


def _role(line: ReportLine) -> str:
    return line.role + (" (infeasible)" if line.record.state == "infeasible" else "")


def _front(record: Record) -> str:
    scores = [f"{percent(record.value(target.score)):>5}" for target in targets.TARGETS]
    return f"{' '.join(scores)}  {record.label}"


def _front_title() -> str:
    named = ", ".join(f"{target.people} %" for target in targets.TARGETS)
    return f"Pareto front on the search items ({named})"


def _plain(share: float | None) -> str:
    return "" if share is None else percent(share)


def _parts(value: Score | PairedDifference | None) -> tuple[str, str, str]:
    """A number, its interval and its p-value, as far as it has them."""
    if isinstance(value, PairedDifference):
        interval = f"{signed(value.low)} to {signed(value.high)}"
        return signed(value.difference), interval, p_value(value)
    if value is None or value.value is None or value.low is None or value.high is None:
        return "–", "", ""
    return percent(value.value), f"{percent(value.low)}–{percent(value.high)}", ""


def _one_line(value: Score | PairedDifference | None) -> str:
    number, interval, p = _parts(value)
    return number + (f" ({interval})" if interval else "") + (f" {p}" if p else "")
