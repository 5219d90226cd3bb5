"""What a search shows: live lines in a terminal, a line for a trial where there is none."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from objectives.types import Score
from search.common.terminal import Terminal
from search.merging.recipe import LayerSwap, key
from search.records.record import Record
from search.run.progress import ProgressDisplay, Rule, duration, sparkline
from search.run.workload import Workload
from tests.search.study.tracking.sent import L, trial

GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:525] Connection closed [127.0.0.1]"
DEFAULT = LayerSwap(0, 1, 0, 1, 1, 0, 0.4, 0.6)  # of trial 0
RULE = Rule(L, 0.02, {key(DEFAULT, L)})


def display(
    console: Console, total: int, trials: Sequence[Record] = (), *, verbose: bool = False
) -> ProgressDisplay:
    """One whose clock goes on by a second at each look."""
    work = Workload({"search": total}, {"search": 10, "held_out": 10})
    ticks = itertools.count().__next__
    return ProgressDisplay(
        console, work, RULE, trials, verbose=verbose, clock=lambda: float(ticks())
    )


def scored(number: int, accuracy: float) -> Record:
    found = trial(number % 9, b=number % 9)
    share = Score(accuracy, accuracy, accuracy, 100, 100)
    name = found.key if number < 9 else f"{number:012}"
    return replace(found, number=number, key=name, scores={**found.scores, "accuracy": share})


def shown(records: Sequence[Record], total: int, *, verbose: bool = False) -> list[str]:
    """The lines without a terminal."""
    file = io.StringIO()
    found = display(Console(file=file, width=60), total, verbose=verbose)
    for record in records:
        found.started(record.label, record.origin)
        found.ended(record)
    found.close()
    return file.getvalue().splitlines()


def test_an_error_that_looks_like_markup_is_printed_as_it_is() -> None:
    file = io.StringIO()
    found = display(Console(file=file, width=60), 3, [trial(1)])
    found.started("x", "search")
    found.ended(replace(trial(0), state="failed", reason=GLOO))
    found.close()
    (line,) = file.getvalue().splitlines()
    assert line.startswith("[2/3] ") and f"failed: {GLOO} | " in line


def test_the_end_is_the_number_of_trials() -> None:
    """How many rows the final table has is known when the search is over."""
    file = io.StringIO()
    found = display(Console(file=file, width=60), 9, [trial(0), trial(1)])
    found.ended(trial(2))
    found.final(2)
    for number in (3, 4):
        found.ended(replace(trial(number), origin="final", split="held_out"))
    found.close()
    assert [line.split()[0] for line in file.getvalue().splitlines()] == ["[3/9]", "[4/5]", "[5/5]"]


class Closed(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_search_goes_on_when_nobody_reads_it() -> None:
    console = Terminal(file=Closed())
    found = display(console, 3)
    for number in range(3):
        found.started("x", "search")
        found.ended(trial(number))
    found.close()
    assert console.quiet


def test_the_best_so_far_is_told_with_its_difference_to_the_default_recipe() -> None:
    lines = shown([scored(0, 0.5), scored(1, 0.4), scored(2, 0.625)], 3)
    assert ": accuracy 50.0, lcpr 97.0, best so far (a default recipe) | " in lines[0]
    assert "best so far" not in lines[1]
    assert ": accuracy 62.5, lcpr 97.0, best so far (+12.5 to the default recipe) | " in lines[2]
    assert lines[1].endswith("tokens/s, 3 s left")


@pytest.mark.slow
def test_beyond_a_hundred_trials_one_in_ten_has_a_line_and_what_matters() -> None:
    records = [scored(number, 0.5 - number / 1000) for number in range(120)]
    records[33] = scored(33, 0.75)
    records[57] = replace(records[57], state="failed", reason="out of memory")
    numbers = [int(line[1:].partition("/")[0]) for line in shown(records, 120)]
    assert numbers == sorted([1, 34, 58, *range(10, 121, 10)])
    assert len(shown(records, 120, verbose=True)) == 120
    assert len(shown(records[:100], 100)) == 100


def test_a_terminal_shows_best_curve_engines_and_speed() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=150, color_system=None)
    found = display(console, 40, [scored(0, 0.5)])
    for number, accuracy in enumerate((0.4, 0.6, 0.75), 1):
        found.started("x", "search")
        found.engines({"fetching experts": 0, "starting": 1, "working": 2, "free": 0})
        found.ended(scored(number, accuracy))
    found._live.refresh()
    found.close()
    text = file.getvalue()
    best = f"best so far: {scored(3, 0).label}: accuracy 75.0, lcpr 97.0 (+25.0 to the default"
    assert best in text and "▁▁▄█" in text
    assert "engines: 1 starting, 2 working | " in text and " tokens/s | 0 repeated" in text
    assert "4/40" in text and " left" in text


@pytest.mark.parametrize(
    ("values", "curve"),
    [
        ([], ""),
        ([0.5], "▁"),
        ([1, 1, 1], "▁▁▁"),
        ([0, 1, 2, 7], "▁▂▃█"),
        ([0] * 50 + [1] * 50, "▁▁██"),
    ],
)
def test_a_curve_of_one_line(values: list[float], curve: str) -> None:
    assert sparkline(values, columns=4) == curve


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (99, "99 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
