"""The main job: search the best layer swap of a family for one language.

Command line only: parses, checks everything that can be wrong before an engine starts, puts the
parts together, prints. `--help` stays fast because the parts are imported when they are needed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objectives.command_line import Parser
from search.common.ending import as_ctrl_c
from search.common.errors import SearchError

if TYPE_CHECKING:
    from rich.console import Console

    from search.config.schema import Config
    from search.run.opening import Opened
    from search.run.prepare import Prepared

EXAMPLES = """examples:
  python -m search.run --lang te                              the embedded demo family
  python -m search.run --lang sw --trials 80 search.seed=1    override any key of conf/
  python -m search.run --lang te family=my.yaml objective=mgsm_lcb search=gpu \\
      --mgsm-dir data/mgsm --lcb-dir data/lcb/test_sets       your experts, the published data
  python -m search.run --resume runs/demo-te-20260101-120000  go on after Ctrl-C or a crash
  python -m search.run --lang te --resume auto                go on with its study, or begin one
  python -m search.run --lang te,sw --resume auto             one study each, whatever is unfinished
  python -m search.run --extend runs/demo-te-20260101-120000 --trials 40    40 trials more
  python -m search.run --lang te family=my.yaml --dry-run     what would be run, and what it costs
  python -m search.run --lang sw --import runs/demo-te-20260101-120000      its best recipes first

exit status: 0 it came to its end, 3 the same, but no recipe can be recommended, 1 it stopped with a
fault, 2 bad input, 130 Ctrl-C or SIGTERM; of several languages the worst: 130, 1, 3, 0
"""
UNDECIDED = 3
"""Exit status of a study that came to its end and recommends nothing."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="python -m search.run",
        description="Search the best layer-swap merge of a family of experts for one language.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--lang", help="language code of the target language, such as te; te,sw or all")
    p.add_argument("--trials", type=int, help="distinct recipes to score (search.trials)")
    p.add_argument("--out", default="runs", help="folder of studies (runs), or s3://... and such")
    p.add_argument(
        "--study", help="its name (else family, language and time; of several -LANG is added)"
    )
    p.add_argument(
        "--resume",
        metavar="STUDY",
        help="go on with this study's folder; auto: with the study of this very command, if any",
    )
    p.add_argument("--extend", metavar="STUDY", help="go on with --trials more")
    p.add_argument(
        "--import", dest="source", metavar="STUDY", help="propose this study's best recipes first"
    )
    p.add_argument("--tracking-uri", help="MLflow (MLFLOW_TRACKING_URI, else <out>/mlflow.db)")
    p.add_argument(
        "--trust-addresses",
        action="store_true",
        help="ask the database, MLflow and hosts that only the resumed study names",
    )
    p.add_argument("--mgsm-dir", type=Path, help="folder of MGSM files (objective.mgsm.data_dir)")
    p.add_argument("--lcb-dir", type=Path, help="folder of LCB prompts (objective.lcpr.data_dir)")
    p.add_argument("--lid", type=Path, help="fastText model that tells languages (objective.lid)")
    p.add_argument(
        "--chat",
        action="store_true",
        default=None,
        help="prompts by the model's chat template (objective.chat)",
    )
    p.add_argument(
        "--dry-run", action="store_true", help="say what would be run and what it costs, and stop"
    )
    p.add_argument(
        "--verbose", action="store_true", help="without a terminal: a line for every trial"
    )
    p.add_argument("overrides", nargs="*", metavar="key=value", help="groups and keys of conf/")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job.

    Returns:
        0 when it came to its end, 3 when it did but can recommend no recipe, 1 when the study
        stopped with a fault, 2 for bad input, 130 after Ctrl-C or SIGTERM.
    """
    arguments = parser().parse_intermixed_args(argv)
    try:
        with as_ctrl_c(signal.SIGTERM):
            return _main(arguments)
    except KeyboardInterrupt:  # before the study's trials or after them: those have a handler
        print("stopped", file=sys.stderr)
        return 130


def _main(arguments: argparse.Namespace) -> int:
    from objectives.errors import ObjectiveError
    from search.common.garbage import look_seldom
    from search.common.terminal import Terminal

    look_seldom()
    console = Terminal()
    try:
        each = _each(arguments)
        if arguments.dry_run:
            for one in each:
                _dry_run(one, console)
            return 0
        studies = _prepare(each)
    except (SearchError, ObjectiveError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        with _ray_on_loopback(studies[0].config.search.address):
            if arguments.lang and each[0].lang != arguments.lang:
                from search.run.languages import run_all

                return run_all(studies, console, arguments.verbose)
            from search.run.job import engines_for, run

            with engines_for(studies) as engines:
                outcome = run(studies[0], console, engines, arguments.verbose)
    except (SearchError, ObjectiveError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        with contextlib.ExitStack() as held:  # all of them, whatever ends the closing of one
            for prepared in studies:
                held.callback(prepared.records.close)
    return {"recommended": 0, "undecided": UNDECIDED, "stopped": 130}[outcome]


def _dry_run(arguments: argparse.Namespace, console: Console) -> None:
    from search.records.study_path import locate
    from search.run import estimate, preview

    known = arguments.extend or (arguments.resume if arguments.resume != "auto" else None)
    out = locate(known).parent if known else locate(arguments.out)
    for line in estimate.say(_open(arguments, preview), out):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _each(arguments: argparse.Namespace) -> list[argparse.Namespace]:
    """The command line of each language's study; itself where there is one language."""
    asked = arguments.lang or ""
    if not (asked == "all" or "," in asked) or arguments.extend:
        return [arguments]
    if arguments.resume not in (None, "auto"):
        return [arguments]
    from search.run.languages import codes

    first = asked.partition(",")[0]
    given = vars(arguments)
    config = _config(argparse.Namespace(**given | {"lang": first}))
    name = arguments.study
    return [
        argparse.Namespace(**given | {"lang": code, "study": f"{name}-{code}" if name else None})
        for code in codes(asked, config.family.language)
    ]


def _prepare(each: Sequence[argparse.Namespace]) -> list[Prepared]:
    """All studies, checked; what is wrong with any of them is said of all at once.

    Nothing is left of a study that this command would have begun, if one cannot be run.
    """
    from objectives.errors import ObjectiveError
    from search.common.errors import ConfigError
    from search.run import opening

    faults: dict[str, list[str]] = {}
    with contextlib.ExitStack() as drops:
        checked = []
        for arguments in each:
            try:
                opened = _open(arguments, opening)
                drops.callback(opened.drop)
                checked.append((opened, _check(arguments, opened)))
            except (SearchError, ObjectiveError) as error:
                if len(each) == 1:
                    raise
                faults.setdefault(str(error), []).append(arguments.lang)
        if faults:
            said = [f"{', '.join(langs)}: {fault}" for fault, langs in faults.items()]
            raise ConfigError("\n".join(said))
        studies = [opening.verify_and_update(opened, prepared) for opened, prepared in checked]
        drops.pop_all()
    return studies


def _check(arguments: argparse.Namespace, opened: Opened) -> Prepared:
    from search.run.prepare import prepare
    from search.study.tracking.outbox import address
    from search.study.tuning.token import keep_token

    keep_token(joins=bool(opened.config.search.address or os.environ.get("RAY_ADDRESS")))
    records = opened.records
    uri = address(records.folder, arguments.tracking_uri, trusted=arguments.trust_addresses)
    return prepare(opened.config, opened.head.name, records, uri)


@contextlib.contextmanager
def _ray_on_loopback(address: str | None) -> Iterator[None]:
    """Ray of this machine alone listens for it alone; Ray looks when it is imported."""
    name = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # on Linux as well
    ours = not (address or os.environ.get("RAY_ADDRESS") or name in os.environ)
    if ours:
        os.environ[name] = "0"
    try:
        yield
    finally:
        if ours:
            del os.environ[name]


def _open(arguments: argparse.Namespace, door: Any) -> Any:
    """The study that is meant, by the functions of `opening`, or those of `preview`."""
    from search.common.errors import ConfigError
    from search.records.study_path import locate
    from search.run.opening import own_name

    known = arguments.extend or (arguments.resume if arguments.resume != "auto" else None)
    if known:
        flag = "--extend" if arguments.extend else "--resume"
        budget = ["trials"] if flag == "--resume" else ["resume"]
        names = ("lang", *budget, "study", "source", "mgsm_dir", "lcb_dir", "lid", "chat")
        given = [f"--{n}".replace("source", "import") for n in names if getattr(arguments, n)]
        if given:
            raise ConfigError(
                f"{flag} takes the whole configuration from {known}/study.yaml; leave out "
                f"{', '.join(given).replace('_', '-')}"
            )
        if flag == "--extend" and (arguments.trials or 0) < 1:
            raise ConfigError("--extend needs --trials N, how many trials are added (1 or more)")
        trials, trusted = arguments.trials or 0, arguments.trust_addresses
        return door.resume(locate(known), arguments.overrides, trials, trusted=trusted)
    if not arguments.lang:
        raise ConfigError("--lang is missing: name the target language, such as --lang te")
    config = _config(arguments)
    out = locate(arguments.out)
    source = locate(arguments.source) if arguments.source else None
    if arguments.resume:
        name = arguments.study or own_name(config)
        return door.begin_or_resume(config, out, name, source)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    name = arguments.study or f"{config.family.name}-{config.lang}-{stamp}"
    return door.begin(config, out, name, source)


def _config(arguments: argparse.Namespace) -> Config:
    """The configuration of a new study."""
    from search.config import compose

    flags: dict[str, Any] = {
        "lang": arguments.lang,
        "search.trials": arguments.trials,
        "objective.mgsm.data_dir": _text(arguments.mgsm_dir),
        "objective.lcpr.data_dir": _text(arguments.lcb_dir),
        "objective.lid": _text(arguments.lid),
        "objective.chat": arguments.chat,
    }
    return compose.load(arguments.overrides, flags)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


if __name__ == "__main__":
    sys.exit(main())
