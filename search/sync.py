"""`python -m search.sync STUDY`: send to MLflow what it lacks of a study.

Owns this command line only. Reads the study's folder; what is there already is not sent again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from search.errors import SearchError
from search.outbox import Tracker
from search.records import Records
from search.runs import default_uri, experiment_name, masked

ARTIFACTS = ("report.md", "report.tsv", "pareto.png", "landscape.png", "study.yaml")
"""Files of a study's folder that its parent run shows, where they exist."""


def main(argv: Sequence[str] | None = None) -> int:
    """Send a study; 0 if MLflow then holds it, 1 if not, 2 if the study can't be read."""
    parser = argparse.ArgumentParser(
        prog="python -m search.sync",
        description="Send to MLflow what it lacks of a study, from the study's folder.",
        epilog="example: python -m search.sync runs/demo-te --tracking-uri http://mlflow:5000",
    )
    parser.add_argument("study", type=Path, help="the study's folder, <out>/<study>")
    parser.add_argument(
        "--tracking-uri",
        default=os.environ.get("MLFLOW_TRACKING_URI"),
        help="default: MLFLOW_TRACKING_URI, else the sqlite store beside the study",
    )
    args = parser.parse_args(argv)
    uri = args.tracking_uri or default_uri(args.study.resolve().parent)
    try:
        records = Records.open(args.study)
        try:
            lacking = send(records, uri)
        finally:
            records.close()
    except SearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    sent = f"{len(records.trials)} trials of {args.study}"
    if lacking:
        print(f"{masked(uri)} still lacks {lacking} runs of the {sent}", file=sys.stderr)
        return 1
    print(f"{masked(uri)} holds the {sent}")
    return 0


def send(records: Records, uri: str) -> int:
    """Send a study's records and files.

    Returns:
        Number of runs that MLflow lacks after it.

    Raises:
        StudyError: the study's study.yaml or mlflow.json cannot be used.
    """
    head, folder = records.head(), records.folder.resolve()
    experiment = experiment_name(head.config["family"]["name"], head.config["lang"])
    tracker = Tracker(uri, experiment, head.name, head.config, {}, folder)
    tracker.start()
    for record in records.trials:
        tracker.put(record)
    complete = (folder / "report.md").exists()
    return tracker.finish(
        [folder / name for name in ARTIFACTS], status="FINISHED" if complete else "KILLED"
    )


if __name__ == "__main__":
    sys.exit(main())
