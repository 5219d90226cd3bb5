"""`python -m search.best [STUDY]`: which recipe a study recommends, why, and how to get it.

Owns what is said of it in a few lines. Reads records alone, or MLflow's runs where nothing else is
left; a search may be running on the study.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from objectives.command_line import Parser
from objectives.errors import ObjectiveError
from objectives.words import counted
from search.common.errors import SearchError

if TYPE_CHECKING:
    from search.export.selection import Study
    from search.results.best import Best, Versus

ALIKE = 5
"""Recipes that are named of those that might as well be taken; all are in the JSON."""
_RUN_ID = re.compile(r"[0-9a-f]{32}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="python -m search.best",
        description="Say which recipe a study recommends, what it beats, and how to export it.",
        epilog="example: python -m search.best runs/demo-te-20261128-055218 --json",
    )
    p.add_argument(
        "study",
        nargs="?",
        default="",
        help="a study's folder, a folder of studies (its newest), s3://..., or an MLflow run id; "
        "the newest of runs/ if none is named",
    )
    p.add_argument("--json", action="store_true", help="one JSON object, scores as shares")
    p.add_argument("--tracking-uri", help="of a run id (MLFLOW_TRACKING_URI, or runs/mlflow.db)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Say it.

    Returns:
        0 where a recipe is recommended, 1 where none is, 2 where the study cannot be read.
    """
    args = parser().parse_args(argv)
    try:
        found = find(args.study, args.tracking_uri)
    except (SearchError, ObjectiveError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(asdict(found), indent=1))
    else:
        from search.common.terminal import Terminal

        for line in lines(found):
            one = " ".join(line.splitlines())  # a name of others makes no line of its own
            Terminal().print(one, soft_wrap=True, highlight=False)
    return 1 if found.no_recommendation else 0


def find(text: str = "", tracking_uri: str | None = None) -> Best:
    """The best recipe of the study that a user means.

    Args:
        text: a study, a folder of studies, a run id, or nothing; as the command line says.
        tracking_uri: where a run id is looked up.

    Raises:
        SearchError: there is none, or it cannot be read.
    """
    from search.records import listing
    from search.records.reader import RecordsReader
    from search.results.best import of_records
    from search.results.study_result import StudyResult

    records: RecordsReader | None
    if not _RUN_ID.fullmatch(text) or Path(text).exists():
        records = RecordsReader.read(listing.named(text))
    else:
        from search.export.selection import open_run
        from search.study.tracking.runs import default_uri

        uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or default_uri(Path("runs"))
        study, _ = open_run(uri, text)
        records = study.records
        if records is None:
            option = f" --tracking-uri {shlex.quote(tracking_uri)}" if tracking_uri else ""
            return of_runs(study, f"--run {text}{option} --recommended")
    final = StudyResult.of(records)
    running = listing.is_held(records.path)
    return of_records(records, final, final.compare(records), running=running)


def of_runs(study: Study, named: str) -> Best:
    """The best recipe of a study that MLflow alone still has: no answers, so no differences.

    Args:
        study: as its runs tell it.
        named: how `search.export` is told of it.

    Raises:
        SearchError: its base cannot be opened, which knows the number of layers.
    """
    from search.checkpoints.family import examine
    from search.export.selection import held_out, recommended
    from search.results.best import Best, described
    from search.results.choose import scored
    from search.results.recommendation import no_recommendation

    base = examine({"base": study.family.base}, allow_bin=study.family.allow_bin)
    base.raise_faults()
    n_layers = base.opened["base"].n_layers
    choice = recommended(study, n_layers)
    known = Best(
        study=study.name,
        state="",
        family=study.family.name,
        lang=study.lang,
        compared=len(scored(study.trials)),
        no_recommendation=no_recommendation(choice, study.trials),
        reason=choice.reason if choice else "",
    )
    if choice is None:
        return known
    other = held_out(study, choice.record.key)
    return described(known, choice.record, other, n_layers, study.family, named)


def lines(best: Best) -> Iterator[str]:
    """What is printed."""
    from search.common.values import percent

    where = f"{best.study}{f' ({best.state})' if best.state else ''}"
    yield f"{where}: {best.family} / {best.lang}, {counted(best.compared, 'recipe')} compared"
    so_far = best.unfinished
    if best.no_recommendation:
        yield f"no recommendation{' yet' if so_far else ''}: {best.no_recommendation}"
        more = {"finished": "--extend {} --trials 40", "stopped": "--resume {}"}.get(best.state)
        if more is not None:
            yield f"more trials: python -m search.run {more.format(shlex.quote(best.study))}"
    if best.unreadable:
        yield f"note: {best.unreadable}"
    if not best.key:
        return
    called = "best on the search items" if best.no_recommendation else "recommended"
    itself = [other.what for other in best.beats if other.key == best.key]
    known = f" (the {' and the '.join(itself)})" if itself else ""
    yield f"{called}{' so far' if so_far else ''}: {best.label}{known}"
    yield f"  {best.words}"
    yield f"  {', '.join(f'{name} is {place}' for name, place in best.experts.items())}"
    yield f"  {best.reason}"
    yield from _scores(best)
    others = [other for other in best.beats if other.key != best.key]
    if others:
        yield f"  on the same {best.split.replace('_', '-')} items, in points of {_people()}:"
    for other in others:
        yield f"    against the {_versus(other)}"
    if best.alike:
        shown = [f"{name} ({percent(value)}%)" for name, value in best.alike.items()]
        more = f" and {len(shown) - ALIKE} more (--json)" if len(shown) > ALIKE else ""
        yield f"  not to be told from it on the search items: {', '.join(shown[:ALIKE])}{more}"
    yield f"export it: {best.export}"
    yield f"serve it:  {best.serve}"


def _scores(best: Best) -> Iterator[str]:
    from objectives import targets
    from search.common.values import percent

    for words, scores in (("held-out", best.held_out), ("search", best.search)):
        told = [
            f"{target.people} {percent(score['value'])}% "
            f"({percent(score['low'])} to {percent(score['high'])}, "
            f"{counted(score['n_scored'], 'item')})"
            for target in targets.TARGETS
            if (score := scores.get(target.score)) and score["value"] is not None
        ]
        if told:
            luck = "" if words == "held-out" else "; optimistic, as it was chosen by them"
            yield f"  {words}: {', '.join(told)}{luck}"


def _people() -> str:
    from objectives import targets

    return targets.TARGETS[0].people


def _versus(other: Versus) -> str:
    from search.results.comparison import signed

    if other.difference is None or other.low is None or other.high is None or other.p is None:
        return f"{other.what} ({other.label}): no item in common"
    p = "p<0.001" if other.p < 0.001 else f"p={other.p:.3f}"
    return (
        f"{other.what} ({other.label}): {signed(other.difference)} "
        f"({signed(other.low)} to {signed(other.high)}, {p})"
    )


if __name__ == "__main__":
    sys.exit(main())
