"""The main job: search the best layer swap of a family for one language.

Command line only: parses, checks everything that can be wrong before an engine starts, puts the
parts together, prints. `--help` stays fast because the parts are imported when they are needed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import SearchError

if TYPE_CHECKING:
    from search.prepare import Prepared

EXAMPLES = """examples:
  python -m search.run --lang te                              the embedded demo family
  python -m search.run --lang sw --trials 80 search.seed=1    override any key of conf/
  python -m search.run --lang te family=my.yaml objective=mgsm_lcb search=gpu \\
      --mgsm-dir data/mgsm --lcb-dir data/lcb/test_sets       your experts, the published data
  python -m search.run --resume runs/demo-te-20260101-120000  go on after Ctrl-C or a crash
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m search.run",
        description="Search the best layer-swap merge of a family of experts for one language.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--lang", help="language code of the target language, such as te")
    p.add_argument("--trials", type=int, help="distinct recipes to score (search.trials)")
    p.add_argument("--out", type=Path, default=Path("runs"), help="folder of studies (runs)")
    p.add_argument("--study", help="name of the study (made from family, language and time)")
    p.add_argument("--resume", type=Path, metavar="STUDY", help="go on with this study's folder")
    p.add_argument("--tracking-uri", help="MLflow server (MLFLOW_TRACKING_URI, or <out>/mlflow.db)")
    p.add_argument("--mgsm-dir", type=Path, help="folder of MGSM files (objective.mgsm.data_dir)")
    p.add_argument("--lcb-dir", type=Path, help="folder of LCB prompts (objective.lcpr.data_dir)")
    p.add_argument("--lid", type=Path, help="fastText model that tells languages (objective.lid)")
    p.add_argument(
        "--chat",
        action="store_true",
        default=None,
        help="prompts by the model's chat template (objective.chat)",
    )
    p.add_argument("overrides", nargs="*", metavar="key=value", help="groups and keys of conf/")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job.

    Returns:
        0 when it came to its end, 1 when the study stopped with a fault, 2 for bad input, 130 after
        Ctrl-C.
    """
    arguments = parser().parse_intermixed_args(argv)
    try:
        return _main(arguments)
    except KeyboardInterrupt:
        print("stopped before the study began", file=sys.stderr)
        return 130


def _main(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from objectives.errors import ObjectiveError

    console = Console(stderr=False)
    try:
        prepared = _prepare(arguments)
    except (SearchError, ObjectiveError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from search.assemble import run

    try:
        finished = run(prepared, console)
    except SearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        prepared.records.close()
    return 0 if finished else 130


def _prepare(arguments: argparse.Namespace) -> Prepared:
    from search import config
    from search.errors import ConfigError
    from search.prepare import prepare, versions
    from search.records import Records, StudyHead

    if arguments.resume:
        given = [
            name
            for name in (
                "lang",
                "trials",
                "study",
                "mgsm_dir",
                "lcb_dir",
                "lid",
                "chat",
                "overrides",
            )
            if getattr(arguments, name)
        ]
        if given:
            raise ConfigError(
                f"--resume takes the whole configuration from {arguments.resume}/study.yaml; leave "
                f"out {', '.join(given)}"
            )
        records = Records.open(arguments.resume)
        try:
            head = records.head()
            return prepare(
                config.validate(head.config), head.name, records, _uri(arguments, records)
            )
        except BaseException:
            records.close()
            raise
    if not arguments.lang:
        raise ConfigError("--lang is missing: name the target language, such as --lang te")
    flags: dict[str, Any] = {
        "lang": arguments.lang,
        "search.trials": arguments.trials,
        "objective.mgsm.data_dir": _text(arguments.mgsm_dir),
        "objective.lcpr.data_dir": _text(arguments.lcb_dir),
        "objective.lid": _text(arguments.lid),
        "objective.chat": arguments.chat,
    }
    chosen = config.load(arguments.overrides, flags)
    name = arguments.study or f"{chosen.family.name}-{chosen.lang}-{time.strftime('%Y%m%d-%H%M%S')}"
    head = StudyHead(name, chosen.model_dump(mode="json"), versions())
    records = Records.create(arguments.out / head.name, head)
    try:
        return prepare(chosen, name, records, _uri(arguments, records))
    except BaseException:
        records.discard()
        raise


def _uri(arguments: argparse.Namespace, records: Any) -> str:
    import os

    from search.runs import default_uri

    named = arguments.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return str(named or default_uri(records.folder.resolve().parent))


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


if __name__ == "__main__":
    sys.exit(main())
