"""`python -m search.report.confusion STUDY`: how sure models were where their language switched.

Owns this command line and what it prints. Reads the study's records, also while the search runs;
where a response switches is for `objectives.confusion_points` to say.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from objectives.command_line import Parser
from objectives.confusion import ConfusionJudge, EnglishWords
from objectives.confusion_points import PointTable, TracedResponse, points, traced
from objectives.errors import ObjectiveError
from objectives.langid import LanguageIdentifier
from objectives.languages import language
from objectives.tokens import split_line
from search.common.errors import SearchError, StudyError
from search.common.terminal import Terminal
from search.config import compose
from search.config.schema import Config
from search.records.reader import RecordsReader
from search.records.record import Record
from search.records.study_path import StudyPath, locate

WIDTH = 130
"""Columns where the terminal's width is not known."""
EXAMPLES = """examples:
  python -m search.report.confusion runs/demo-te                       all trials, 5 responses
  python -m search.report.confusion runs/demo-te --trial 1f09a3c2b4d5 --top 20
"""


@dataclass(frozen=True)
class TracedTrial:
    """A trial with its traced responses."""

    record: Record
    responses: Sequence[TracedResponse]
    table: PointTable


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="python -m search.report.confusion",
        description="How sure the models of a study were where their responses switch language.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("study", help="the study's folder, <out>/<study>, or s3://... and such")
    p.add_argument("--trial", metavar="KEY", help="only this trial, by its key in the table")
    p.add_argument("--top", type=int, default=5, metavar="N", help="responses to print (5)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and the most confused responses; 0, or 2 if there is nothing to print."""
    args = parser().parse_args(argv)
    try:
        trials = read_trials(locate(args.study), args.trial)
    except (SearchError, ObjectiveError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    console: Console = Terminal()
    if not console.is_terminal:
        console = Terminal(force_terminal=False, width=WIDTH)
    show(trials, max(args.top, 0), console)
    return 0


def read_trials(study: StudyPath, key: str | None = None) -> list[TracedTrial]:
    """A study's trials that have traces.

    Args:
        study: the study's folder.
        key: of the only trial wanted.

    Raises:
        StudyError: there is no such study or trial, or it has no traces.
        ConfigError: the study's configuration cannot be used.
        ObjectiveError: the detector or the word list cannot be used.
    """
    records = RecordsReader.read(study)
    chosen = [record for record in records.trials if key in (None, record.key)]
    if not chosen and key is not None:
        known = ", ".join(sorted({record.key for record in records.trials})[:5]) or "none yet"
        raise StudyError(f"{study} has no trial {key}; it has {known} and so on (trials.jsonl)")
    judge = _judge(compose.parse(records.head().config))
    found = [(record, traced(records.items(record), judge)) for record in chosen]
    trials = [TracedTrial(r, responses, points(responses)) for r, responses in found if responses]
    if not trials:
        whose = "none of its trials" if key is None else f"trial {key}"
        raise StudyError(
            f"{study}: {whose} has a trace; traces are recorded by a search with "
            "objective.confusion_points=true"
        )
    return trials


def show(trials: Sequence[TracedTrial], top: int, console: Console) -> None:
    """Print the table, then the responses that were least sure at their confusion point."""
    console.print(table(trials))
    console.print(
        "Entropy in nats and nucleus size in tokens, averaged over tokens: all of them, those at "
        "confusion points, those elsewhere. n: traced responses, and how many of them switch.",
        soft_wrap=True,
    )
    confused = [(r.point.entropy, t.record, r) for t in trials for r in t.responses if r.point]
    confused.sort(key=lambda found: -found[0])
    for _, record, response in confused[:top]:
        console.print()
        console.print(described(record, response, colour=console.is_terminal), soft_wrap=True)
    if not confused:
        console.print("No traced response leaves its language.")


def table(trials: Sequence[TracedTrial]) -> Table:
    """One row for each trial."""
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    shown.add_column("\ntrial", no_wrap=True)
    shown.add_column("\nrecipe", overflow="fold")
    shown.add_column("\nitems", no_wrap=True)
    names = "\nn/\nswitch/entropy\nall/\nat points/\nelsewhere/nucleus\nall/\nat points/\nelsewhere"
    for name in names.split("/"):
        shown.add_column(name, justify="right", no_wrap=True)
    for trial in trials:
        record, found = trial.record, trial.table
        averages = (found.overall, found.at_points, found.elsewhere)
        cells = [record.key, record.label, record.split.replace("_", "-")]
        cells += [str(found.responses), str(found.confused)]
        cells += ["–" if a.entropy is None else f"{a.entropy:.3f}" for a in averages]
        cells += ["–" if a.nucleus is None else f"{a.nucleus:.2f}" for a in averages]
        shown.add_row(*map(Text, cells))
    return shown


def described(record: Record, response: TracedResponse, *, colour: bool) -> Text:
    """A confused response with its switch marked, under a line that says what it is."""
    switch, point = response.switch, response.point
    assert switch is not None and point is not None
    head = (
        f"{record.label} ({record.key}, {response.id}): switches to {switch.found!r}, "
        f"entropy {point.entropy:.3f}, nucleus {point.nucleus}\n"
    )
    text = "".join(step.text for step in response.steps)
    here = text[switch.start : switch.end]
    marked = Text(here, style="bold white on red") if colour else Text(f">>>{here}<<<")
    before, after = text[: switch.start], text[switch.end :]
    return Text.assemble((head, "bold" if colour else ""), before, marked, after)


def _judge(wanted: Config) -> ConfusionJudge:
    """The judge of the study's own objective."""
    lid = LanguageIdentifier(wanted.objective.lid)
    lid.check()
    lang = language(wanted.lang)
    words = EnglishWords.read(wanted.objective.lcpr.words)
    return ConfusionJudge(lang, split_line(lang, published=True), lid, words)


if __name__ == "__main__":
    sys.exit(main())
