"""Do the checkpoints of a family fit together? Headers only: seconds, whatever their size.

Command line only: looks, prints one table and every fault. `--help` stays fast because the parts
are imported when they are needed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from objectives.command_line import Parser
from objectives.words import counted, scaled
from search.common.errors import SearchError

if TYPE_CHECKING:
    from rich.table import Table

    from search.checkpoints.checkpoint import Checkpoint
    from search.checkpoints.family import Examined

EXAMPLES = """examples:
  python -m search.check                                  the embedded demo family
  python -m search.check family=my.yaml                   your experts, all languages
  python -m search.check family=my.yaml --lang sw         what a search for Swahili would open

exit status: 0 they fit, 1 some do not, 2 some cannot be opened or the command is wrong
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="python -m search.check",
        description="Check that the experts of a family fit their base; opens headers only.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--lang", help="one target language's experts only (all languages)")
    p.add_argument("overrides", nargs="*", metavar="family=...", help="the family, and its keys")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Look and print.

    Returns:
        0 when all fit, 1 when some do not, 2 when some cannot be opened or for bad input, 130 after
        Ctrl-C.
    """
    arguments = parser().parse_intermixed_args(argv)
    try:
        return _main(arguments)
    except SearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _main(arguments: argparse.Namespace) -> int:
    from search.checkpoints.family import Family, examine
    from search.common.terminal import Terminal
    from search.config import compose

    lang = arguments.lang
    chosen = compose.load(arguments.overrides, {"lang": lang or "en"}).family
    family = Family(**chosen.model_dump())
    sources = family.sources(lang) if lang else family.all_sources()
    found = examine(sources, allow_bin=family.allow_bin)
    console = Terminal()
    console.width = max(console.width, 100)  # the table's; a log has no width of its own
    console.print(_table(f"{family.name}: {counted(len(sources), 'checkpoint')}", found))
    for remark in found.remarks():
        console.print(f"note: {remark}", soft_wrap=True, markup=False, highlight=False)
    error = found.error()
    console.print(str(error or "all fit"), soft_wrap=True, markup=False, highlight=False)
    return 2 if found.unopened else 1 if found.misfits else 0


def _table(title: str, found: Examined) -> Table:
    from rich import box
    from rich.table import Table

    base = found.opened.get("base")
    if base is not None:
        title = f"{title}; the base has {base.n_layers} layers, {_shape(base)}"
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in ("source", "fits"):
        table.add_column(column, no_wrap=True)
    table.add_column("model", overflow="fold")
    for column in ("kind", "layers", "shape", "dtype", "tied", "tokenizer", "weights", "size"):
        table.add_column(column, no_wrap=column != "kind")
    for name, location in found.locations.items():
        checkpoint, faults = found.opened.get(name), found.misfits.get(name, [])
        if checkpoint is None:
            table.add_row(name, "no", str(location), *[""] * 8)
        else:
            fits = "no" if faults else "yes" if base else "?"
            table.add_row(name, fits, checkpoint.label, *_cells(checkpoint, base, faults))
    return table


def _cells(checkpoint: Checkpoint, base: Checkpoint | None, faults: Sequence[str]) -> list[str]:
    from search.checkpoints.compatibility import OTHER_TOKENIZER

    shape, tokenizer = "", ""
    if base is not None and checkpoint is not base:
        shape = "same" if _shape(checkpoint) == _shape(base) else "other"
        tokenizer = "other" if OTHER_TOKENIZER in faults else "same"
    if not (checkpoint.path / "tokenizer.json").is_file():
        tokenizer = "none"
    return [
        _kind(checkpoint),
        str(checkpoint.n_layers),
        shape,
        "+".join(sorted({info.dtype for info in checkpoint.tensors.values()})),
        "yes" if checkpoint.tied else "no",
        tokenizer,
        scaled(checkpoint.parameters, ("", "k", "M", "B")),
        scaled(checkpoint.bytes),
    ]


def _shape(checkpoint: Checkpoint) -> str:
    entries = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    hidden, mlp, heads, groups = (checkpoint.text.get(entry, "?") for entry in entries)
    tokens = checkpoint.text.get("vocab_size", "?")
    return f"hidden {hidden}, MLP {mlp}, {heads} heads ({groups} key-value), {tokens} tokens"


def _kind(checkpoint: Checkpoint) -> str:
    if checkpoint.derived is not None:
        return checkpoint.derived.kind
    if not checkpoint.revision:
        return "folder"
    return "hub" if any(checkpoint.path.glob("*.safetensors")) else "hub, to download"


if __name__ == "__main__":
    sys.exit(main())
