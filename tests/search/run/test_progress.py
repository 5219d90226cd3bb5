"""What a search prints for each trial where there is no terminal."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from search.run.progress import ProgressDisplay
from search.terminal import Terminal
from tests.search.tracking.sent import trial

GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:525] Connection closed [127.0.0.1]"


def test_an_error_that_looks_like_markup_is_printed_as_it_is() -> None:
    file = io.StringIO()
    display = ProgressDisplay(Console(file=file, width=60), total=3, done=1)
    display.started("x", "search")
    display.ended(replace(trial(0), state="failed", reason=GLOO))
    display.close()
    (line,) = file.getvalue().splitlines()
    assert line.startswith("[2/3] ") and f"failed: {GLOO} | " in line


class Closed(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_search_goes_on_when_nobody_reads_it() -> None:
    console = Terminal(file=Closed())
    display = ProgressDisplay(console, total=3)
    for number in range(3):
        display.started("x", "search")
        display.ended(trial(number))
    display.close()
    assert console.quiet
