"""Where did the experts change? Heat map, cosines, and a search range read off them.

Command line only: reads every weight of the family once, writes a picture, tables and a space file,
prints. `--help` stays fast because the parts are imported when they are needed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from objectives.command_line import Parser
from objectives.words import counted
from search.common.errors import ConfigError, SearchError
from search.merging.source import Source

if TYPE_CHECKING:
    from rich.console import Console

    from search.checkpoints.family import FittedFamily
    from search.inspect.expert_vectors import ExpertVectors

EXAMPLES = """examples:
  python -m search.inspect --lang te                         the embedded demo family
  python -m search.inspect family=my.yaml --lang sw          your experts
  python -m search.inspect family=my.yaml --lang sw --threshold 1e-4
                                                             one threshold for all experts
  python -m search.run --lang sw family=my.yaml space=inspect/my-sw/space.yaml
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="python -m search.inspect",
        description="Show where the experts of a family changed and suggest a search range.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--lang", required=True, help="language code of the target language")
    p.add_argument("--out", type=Path, help="folder to write to (inspect/<family>-<lang>)")
    p.add_argument(
        "--top",
        type=float,
        metavar="SHARE",
        help="share of each expert's input columns that count as changed: those with the largest "
        "mean absolute change (0.25)",
    )
    p.add_argument(
        "--threshold",
        type=float,
        metavar="CHANGE",
        help="instead: columns whose mean absolute change is above this, in units of the weights",
    )
    p.add_argument("overrides", nargs="*", metavar="family=...", help="the family, and its keys")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write, print.

    Returns:
        0, or 2 for bad input, 130 after Ctrl-C.
    """
    arguments = parser().parse_intermixed_args(argv)
    try:
        _main(arguments)
    except SearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    return 0


def _main(arguments: argparse.Namespace) -> None:
    _check(arguments)
    from search.checkpoints.family import Family, fit
    from search.common.terminal import Terminal
    from search.config import compose
    from search.inspect import heat_map
    from search.inspect.expert_vectors import write_csv
    from search.inspect.suggest import layerwise_yaml, space_yaml, suggest
    from search.records.durable import write_whole

    family_config = compose.load(arguments.overrides, {"lang": arguments.lang}).family
    sources = Family(**family_config.model_dump()).sources(arguments.lang)
    locations = {name: at for name, at in sources.items() if not name.startswith("reference/")}
    family = fit(locations, check_finite=False, allow_bin=family_config.allow_bin)
    out: Path = arguments.out or Path("inspect") / f"{family_config.name}-{arguments.lang}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass  # a disk that takes no file is known before minutes of reading
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be written: {error}") from None
    console = Terminal()
    vectors = _measure(family, arguments, console)
    shares = vectors.shares
    suggestion = suggest(
        [shares[expert] for expert in shares if Source.of(expert).kind == "lang"],
        [shares[expert] for expert in shares if Source.of(expert).kind == "task"],
    )
    title = f"{family_config.name} / {arguments.lang}"
    names = {expert: f"{expert}\n{_name(locations[expert])}" for expert in shares}
    files = [
        heat_map.draw(
            vectors,
            suggestion,
            names,
            f"{title}: where the experts changed\n{_criterion(arguments, vectors)}",
            out / "expert_vectors.png",
        ),
        *write_csv(vectors, out),
        out / "layerwise.yaml",
        out / "space.yaml",
    ]
    write_whole(files[-2], layerwise_yaml(suggestion, title).encode())
    write_whole(files[-1], space_yaml(suggestion, title).encode())
    console.print(heat_map.matrix_table(vectors))
    console.print(heat_map.layer_table(vectors, suggestion))
    console.print(f"changed: {_criterion(arguments, vectors)}")
    console.print(f"suggestion: {suggestion.why}")
    for name in ("b", "u", "t_b", "t_u"):
        found = getattr(suggestion, name)
        console.print(
            f"  {name}: {'whole model' if found is None else f'{found[0]} to {found[1]}'}"
        )
    console.print("written: " + ", ".join(map(str, files)), soft_wrap=True)
    command = ["python -m search.run --lang", arguments.lang, *arguments.overrides]
    console.print("next: " + " ".join([*command, f"space={files[-1]}"]), soft_wrap=True)


def _name(location: str | Path) -> str:
    """What a folder or a hub id ends with, without the revision, short enough for a title."""
    return str(location).rpartition("/")[2].partition("@")[0][:24]


def _check(arguments: argparse.Namespace) -> None:
    faults = [
        f"{override!r}: only the family matters here; write family=NAME, family=FILE.yaml or "
        "family.KEY=VALUE"
        for override in arguments.overrides
        if override.partition("=")[0].partition(".")[0] != "family"
    ]
    if arguments.top is not None and arguments.threshold is not None:
        faults.append("--top and --threshold exclude each other: give one")
    if arguments.top is not None and not 0 < arguments.top < 1:
        faults.append(f"--top {arguments.top} must lie between 0 and 1")
    if arguments.threshold is not None and not 0 <= arguments.threshold < float("inf"):
        faults.append(f"--threshold {arguments.threshold} must be finite and 0 or more")
    if faults:
        raise ConfigError(
            "\n  ".join([f"{counted(len(faults), 'fault')} on the command line:", *faults])
        )


def _measure(
    family: FittedFamily, arguments: argparse.Namespace, console: Console
) -> ExpertVectors:
    from math import prod

    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    from search.inspect.expert_vectors import TOP, measure

    experts = [name for name in family.sources if name != "base"]
    total = sum(prod(info.shape) for info in family.base.tensors.values())
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), Remaining()
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(
            f"{counted(len(experts), 'expert')} x {total / 1e6:,.0f} M weights", total=total
        )
        return measure(
            family,
            experts,
            top=TOP if arguments.top is None else arguments.top,
            threshold=arguments.threshold,
            advance=lambda weights: progress.advance(bar, weights),
        )


def _criterion(arguments: argparse.Namespace, vectors: ExpertVectors) -> str:
    from search.inspect.expert_vectors import TOP

    if arguments.threshold is not None:
        return f"input columns whose mean absolute change is above {arguments.threshold:g}"
    low, high = min(vectors.thresholds.values()), max(vectors.thresholds.values())
    return (
        f"the {arguments.top or TOP:.0%} of each expert's input columns with the largest mean "
        f"absolute change, above {low:.2g} to {high:.2g}"
    )


if __name__ == "__main__":
    sys.exit(main())
