"""`python -m search.studies [FOLDER]`: which studies there are, how far each is, its best recipe.

Owns what is said of a study in one line. Reads studies' folders and changes nothing; a study that
cannot be read is a line with its fault.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from objectives.command_line import Parser
from objectives.errors import ObjectiveError
from search.common.errors import SearchError
from search.common.values import percent
from search.records import listing
from search.records.reader import RecordsReader
from search.records.study_path import StudyPath, locate
from search.results.recommendation import no_recommendation, recommend
from search.results.summary import values

FOLDED = ("study", "family", "best")
"""Columns that are folded where the table would be too wide."""


@dataclass(frozen=True)
class StudyLine:
    """What is said of one study.

    Attributes:
        study: its folder.
        family: name of the family.
        lang: language code.
        state: running (a driver holds it), finished, stopped, or broken.
        trials: recipes of the search that have ended.
        budget: recipes that the search may score.
        best: the recommended recipe's name; empty where there is none.
        no_recommendation: why there is none, and what would decide; empty where there is one.
        scores: what its targets are called.
        search: its targets on search items, as shares; None where not defined.
        held_out: the same on held-out items.
        changed: Unix time of the last ended trial, or else of study.yaml.
        fault: why it cannot be read.
    """

    study: str
    family: str = ""
    lang: str = ""
    state: str = "broken"
    trials: int = 0
    budget: int = 0
    best: str = ""
    no_recommendation: str = ""
    scores: tuple[str, ...] = ()
    search: tuple[float | None, ...] = ()
    held_out: tuple[float | None, ...] = ()
    changed: float = 0.0
    fault: str = ""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="python -m search.studies",
        description="List the studies of a folder: state, trials, best recipe; newest first.",
        epilog="example: python -m search.studies runs --json",
    )
    p.add_argument("folder", nargs="?", default="runs", help="runs, or s3://... and such")
    p.add_argument("--json", action="store_true", help="one JSON list, shares and Unix times")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """List studies; 0, or 2 where the folder cannot be read."""
    args = parser().parse_args(argv)
    try:
        lines = list(studies(locate(args.folder)))
    except SearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps([asdict(line) for line in lines], indent=1))
    elif lines:
        _show(lines)
    else:
        print(f"{args.folder} holds no study")
    return 0


def studies(path: StudyPath) -> list[StudyLine]:
    """The studies of a folder, or the one that the folder itself is; the last changed first.

    Raises:
        StudyError: the folder, or the object store, cannot be read.
    """
    found = [path] if RecordsReader.exists(path) else listing.studies(path)
    return sorted(map(look, found), key=lambda line: (-line.changed, line.study))


def look(path: StudyPath) -> StudyLine:
    """One study; whatever is wrong with its files is its `fault`."""
    try:
        return _line(path, _time(path))
    except (SearchError, ObjectiveError, OSError) as error:
        what = str(error) or type(error).__name__
        return StudyLine(str(path), changed=_time(path), fault=what.partition("\n")[0])


def _line(path: StudyPath, changed: float) -> StudyLine:
    records = RecordsReader.read(path)
    head = records.head()
    trials = records.trials
    tolerance = head.value("search.tolerance", float)
    choice = recommend(records, head.layers, tolerance) if head.layers else None
    why_not = no_recommendation(choice, trials)
    best = None if choice is None or why_not else choice.record
    held_out = records.ended("held_out").get(best.key) if best else None
    state = "finished" if head.finished else "stopped"
    return StudyLine(
        study=str(path),
        family=head.value("family.name", str),
        lang=head.value("lang", str),
        state="running" if listing.is_held(path) else state,
        trials=sum((r.origin, r.split) == ("search", "search") for r in trials),
        budget=head.value("search.trials", int),
        best=best.label if best else "",
        no_recommendation=why_not,
        scores=tuple(target.people for target in head.scored_on()),
        search=values(best),
        held_out=values(held_out),
        changed=trials[-1].ended if trials else changed,
    )


def _time(path: StudyPath) -> float:
    """When study.yaml was written; stores are asked for the trials' own times only."""
    try:
        return (path / "study.yaml").stat().st_mtime if isinstance(path, Path) else 0.0
    except OSError:
        return 0.0


def _show(lines: Sequence[StudyLine]) -> None:
    from rich.table import Table
    from rich.text import Text

    from search.common.terminal import Terminal
    from search.results.tables import WIDTH, plain

    named = list(dict.fromkeys(name for line in lines for name in line.scores))
    columns = ("study", "family", "lang", "state", "trials", *named, "last change", "best")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=name not in FOLDED, overflow="fold")
    for line in lines:
        table.add_row(*map(Text, _cells(line, named)))
    console = plain(Terminal())
    console.print(table, width=min(console.width, WIDTH))
    if named:
        shown = " and ".join(filter(None, (", ".join(named[:-1]), named[-1])))
        print(f"{shown} of the recommended recipe, in percent: search items / held-out items")


def _cells(line: StudyLine, named: Sequence[str]) -> Iterator[str]:
    yield Path(line.study).name
    yield line.family
    yield line.lang
    yield line.state
    yield f"{line.trials}/{line.budget}" if line.budget else ""
    own = dict(zip(line.scores, zip(line.search, line.held_out, strict=True), strict=True))
    for name in named:
        yield " / ".join(map(percent, own[name])) if name in own else ""
    yield time.strftime("%Y-%m-%d %H:%M", time.localtime(line.changed))
    none = "no recommendation" + ("" if line.state == "finished" else " yet")
    yield line.fault or line.best or (line.no_recommendation and none)


if __name__ == "__main__":
    sys.exit(main())
