"""Nothing that is printed commands the terminal or rich."""

from __future__ import annotations

import io

from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from search.common.terminal import Terminal

EVIL = "\x1b]0;title\x1b[2J[/x][bold]:smile:\x9b1m\u202eright"
SHOWN = "\\x1b]0;title\\x1b[2J[/x][bold]:smile:\\x9b1m\\u202eright"


def printed(*what: object, **options: object) -> str:
    out = io.StringIO()
    Terminal(file=out, width=200, **options).print(*what, soft_wrap=True)
    return out.getvalue()


def test_texts_of_any_kind_are_shown_as_they_are() -> None:
    table = Table(title=EVIL)
    table.add_column(EVIL)
    table.add_row(EVIL)
    table.add_row(Text(EVIL))
    for what in (EVIL, Text(EVIL), table):
        text = printed(what)
        assert not set(text) & set("\x1b\x9b\u202e") and "\\x1b[2J[/x][bold]" in text
    assert printed(EVIL) == SHOWN + "\n" and "\r" not in printed("a\rb")


def test_its_own_codes_stay() -> None:
    text = printed(Text(EVIL, style="bold"), force_terminal=True, color_system="standard")
    assert text.startswith("\x1b[1m") and text.count("\x1b") == 2


def test_halves_of_surrogate_pairs_can_be_printed() -> None:
    assert printed("a\udcffb").encode() == b"a\\udcffb\n"


def test_progress() -> None:
    out = io.StringIO()
    console = Terminal(file=out, width=200, force_terminal=True, color_system=None)
    with Progress(TextColumn("{task.description}", markup=False), console=console) as progress:
        progress.add_task(EVIL)
    assert "title\\x1b[2J[/x][bold]" in out.getvalue() and "\x1b[2J" not in out.getvalue()
