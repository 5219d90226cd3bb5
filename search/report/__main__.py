"""Write a study's report again, from its records: report.html, report.md, report.tsv, pictures.

Command line only. A search may be running on the study; with `--watch` the report is renewed until
it has ended.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from objectives.command_line import Parser
from objectives.errors import ObjectiveError
from objectives.words import counted
from search.common.errors import SearchError, StudyError

if TYPE_CHECKING:
    from search.records.study_path import StudyPath

EVERY = 60.0
"""Seconds between two reports of `--watch`."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="python -m search.report",
        description="Write a study's report from its records; report.html needs no network.",
        epilog="example: python -m search.report runs/demo-te-20261128-055218 --watch",
    )
    p.add_argument(
        "study",
        nargs="?",
        default="",
        help="a study's folder, a folder of studies (its newest), or s3://...; the newest of runs/ "
        "if none is named",
    )
    p.add_argument(
        "--out", type=Path, help="folder to write to (the study's own; of s3://..., report/STUDY)"
    )
    p.add_argument(
        "--watch", action="store_true", help="again every minute, until the search has ended"
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report.

    Returns:
        0; 2 where the study cannot be read or the folder not be written; 130 after Ctrl-C.
    """
    args = parser().parse_args(argv)
    try:
        from search.records import listing

        path = listing.named(args.study)
        folder = args.out or (path if isinstance(path, Path) else Path("report") / path.name)
        while True:
            running = _write(path, folder)
            if not (args.watch and running):
                return 0
            time.sleep(EVERY)
    except (SearchError, ObjectiveError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _write(path: StudyPath, folder: Path) -> bool:
    """Write it once; whether a driver holds the study."""
    from objectives.letters import visible
    from search.records import listing
    from search.records.reader import RecordsReader
    from search.report.files import write
    from search.report.material import Material
    from search.report.renewal import HTML

    running = listing.is_held(path)
    study = Material.of(RecordsReader.read(path), running=running)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(study, folder)
    except OSError as error:
        raise StudyError(f"{folder} cannot be written: {error}; name another with --out") from None
    print(visible(f"{folder / HTML}: {counted(len(study.records.trials), 'trial')}"), flush=True)
    if said := study.best.unreadable:
        print(visible(f"note: {said}"), file=sys.stderr, flush=True)
    return running


if __name__ == "__main__":
    sys.exit(main())
