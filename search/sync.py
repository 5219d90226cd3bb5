"""`python -m search.sync STUDY`: send to MLflow what it lacks of a study, or all of it again.

Owns this command line. Reads the study's folder; without `--rebuild` what is there already is not
sent again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from objectives.command_line import Parser
from objectives.errors import ObjectiveError
from objectives.letters import visible
from objectives.words import counted
from search.common.errors import SearchError
from search.common.masking import masked
from search.records.study_path import locate
from search.records.writer import RecordsWriter
from search.results.recommendation import recommend
from search.results.summary import ARTIFACTS, headline, recommended
from search.study.tracking.outbox import Outbox, address, remember
from search.study.tracking.runs import experiment_name


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="python -m search.sync",
        description="Send to MLflow what it lacks of a study, from the study's folder.",
        epilog="example: python -m search.sync runs/demo-te --tracking-uri http://mlflow:5000",
    )
    p.add_argument("study", help="the study's folder, <out>/<study>, or s3://...")
    p.add_argument(
        "--tracking-uri",
        help="default: MLFLOW_TRACKING_URI, else <out>/mlflow.db",
    )
    p.add_argument(
        "--trust-addresses",
        action="store_true",
        help="send it where the search sent it, as the study's mlflow.json says",
    )
    p.add_argument(
        "--rebuild", action="store_true", help="delete the study's runs there, and send all again"
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Send a study; 0 if MLflow then holds it, 1 if not, 2 if the study can't be read."""
    args = parser().parse_args(argv)
    try:
        records = RecordsWriter.open(locate(args.study))
        try:
            uri = address(records.folder, args.tracking_uri, trusted=args.trust_addresses)
            lacking = send(records, uri, rebuild=args.rebuild)
            if not lacking:
                remember(records.folder.resolve(), uri)
        finally:
            records.close()
    except (SearchError, ObjectiveError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    trials = len({(record.key, record.split) for record in records.trials})
    if lacking:
        runs = f"{lacking} of the {counted(trials + 1, 'run')} of {args.study}"
        each = f"one for each of its {counted(trials, 'trial')}, and its own"
        print(visible(f"{masked(uri)} still lacks {runs} ({each})"), file=sys.stderr)
        return 1
    print(visible(f"{masked(uri)} holds the {counted(trials, 'trial')} of {args.study}"))
    return 0


def send(records: RecordsWriter, uri: str, *, rebuild: bool = False) -> int:
    """Send a study's records and files.

    Args:
        records: the study.
        uri: MLflow's.
        rebuild: delete what MLflow has of the study first.

    Returns:
        Number of runs that MLflow lacks after it, the study's own among them.

    Raises:
        StudyError: the study's study.yaml or mlflow.json cannot be used.
    """
    head, folder = records.head(), records.folder.resolve()
    experiment = experiment_name(head.value("family.name", str), head.value("lang", str))
    outbox = Outbox(
        uri, experiment, head, {}, folder, rebuild=rebuild, remember=False, path=str(records.path)
    )
    outbox.start()
    for record in records.trials:
        outbox.put(record)
    choice, report = None, None
    tags: Mapping[str, str] = {}
    if head.layers:
        from search.results.study_result import StudyResult

        try:
            final = StudyResult.of(records)
            choice, report = final.choice, final.compare(records)
        except SearchError:  # of earlier versions: its runs are worth having
            choice = recommend(records, head.layers, head.value("search.tolerance", float))
        tags = recommended(choice, records.trials)
    return outbox.finish(
        [folder / name for name in ARTIFACTS],
        metrics=headline(records, choice),
        tags=tags,
        status="FINISHED" if head.finished else "KILLED",
        report=report,
    )


if __name__ == "__main__":
    sys.exit(main())
