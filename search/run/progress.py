"""What a person sees while a study runs: a live display, or plain lines without a terminal.

Owns only the display; it listens to the study and changes nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from objectives import targets
from search.common.values import percent
from search.records.record import Origin, Record
from search.results.choose import best_swap, gains
from search.results.comparison import signed
from search.run.workload import Pace, Workload

if TYPE_CHECKING:
    from search.study.tuning.watch import EngineState

MANY = 100
"""Trials of a study beyond which plain lines are printed for one in `EVERY` only."""
EVERY = 10
CURVE = 24
"""Columns of the incumbent's curve."""
_BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Rule:
    """What decides which of the trials is the best so far.

    Attributes:
        n_layers: the model's number of layers L.
        tolerance: as of `search.results.choose.best_swap`.
        defaults: keys of the default recipes of all pairs.
    """

    n_layers: int
    tolerance: float
    defaults: Collection[str]


class ProgressDisplay:
    """Counts trials; in a terminal a few live lines, elsewhere a line for each ended trial."""

    def __init__(
        self,
        console: Console,
        work: Workload,
        rule: Rule,
        trials: Sequence[Record],
        *,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to show.

        Args:
            console: where to.
            work: what the whole study scores.
            rule: which trial is the best so far.
            trials: what is in the records already.
            verbose: print a line for every trial, however many there are.
            clock: seconds.
        """
        self._console, self._work, self._rule, self._clock = console, work, rule, clock
        self._total = work.total
        self._every = 1 if verbose or work.total <= MANY else EVERY
        self._trials: list[Record] = []
        self._pace: Pace | None = None
        self._running: Counter[Origin] = Counter()
        self._repeated = 0
        self._engines: Mapping[EngineState, int] = {}
        self._best: Record | None = None
        self._default: Record | None = None
        self._curve: list[float] = []
        for record in trials:
            self._take(record)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
        )
        self._task = self._bar.add_task("", total=work.total, completed=len(trials), left="")
        self._said = [Text(no_wrap=True, overflow="ellipsis") for _ in range(2)]
        shown = Group(self._bar, *self._said)
        self._live = Live(shown, console=console, transient=True, refresh_per_second=2)
        if console.is_terminal:
            self._live.start()

    def started(self, name: str, origin: Origin) -> None:
        """A trial was handed to an engine."""
        self._running[origin] += 1
        self._pace = self._pace or Pace(self._work, self._trials, self._clock())
        self._refresh()

    def ended(self, record: Record) -> None:
        """A trial is in the records."""
        self._running[record.origin] -= 1
        before = self._best
        self._take(record)
        now = self._clock()
        self._pace = self._pace or Pace(self._work, self._trials, now)
        self._pace.ended(record, self._running.total(), now)
        self._refresh()
        better = self._best is not before
        done = len(self._trials)
        told = done % self._every == 0 or done == self._total or record.state == "failed"
        if not self._console.is_terminal and (told or better):
            line = self._line(record, better)  # an error's text may hold what looks like markup
            self._console.print(line, soft_wrap=True, highlight=False, markup=False)

    def final(self, rows: int) -> None:
        """The search is over, and so many recipes are in the final table: all trials are known."""
        self._total = sum(record.origin != "final" for record in self._trials) + rows

    def repeated(self) -> None:
        """A proposal was answered from the records."""
        self._repeated += 1

    def engines(self, states: Mapping[EngineState, int]) -> None:
        """How many engines are in each state; about once a second."""
        self._engines = states
        self._refresh()

    def close(self) -> None:
        """End the display."""
        self._live.stop()

    def _take(self, record: Record) -> None:
        """Take a trial into account: is it the best, or a default recipe?"""
        self._trials.append(record)
        if record.split != "search" or record.state != "scored":
            return
        if record.key in self._rule.defaults:
            self._default = max(filter(None, (self._default, record)), key=gains)
        choice = best_swap(self._trials, self._rule.n_layers, self._rule.tolerance)
        value = None if choice is None else choice.record.value(targets.TARGETS[0].score)
        if choice is not None and value is not None:
            if self._best is None or choice.record.key != self._best.key:
                self._best = choice.record
            self._curve.append(value)

    def _refresh(self) -> None:
        if not self._console.is_terminal:
            return
        first, second = self._said
        first.plain, second.plain = self._of_best(), self._of_engines()
        stages = [{"baseline": "baselines", "final": "held-out"}.get(o, o) for o in +self._running]
        left = self._left("")
        done = len(self._trials)
        said = " ".join(stages)
        self._bar.update(self._task, total=self._total, completed=done, description=said, left=left)

    def _line(self, record: Record, better: bool) -> str:
        found = _scores(record) if record.state == "scored" else f"{record.state}: {record.reason}"
        split = " (held-out)" if record.split == "held_out" else ""
        best = f", best so far{self._to_default()}" if better else ""
        return (
            f"[{len(self._trials)}/{self._total}] {record.label}{split}: {found}{best}"
            f" | {self._repeated} repeated, {self._tokens():.0f} tokens/s{self._left(', ')}"
        )

    def _of_best(self) -> str:
        if self._best is None:
            return "no swap has been scored yet"
        curve = "" if self._console.options.ascii_only else f"  {sparkline(self._curve)}"
        return f"best so far: {self._best.label}: {_scores(self._best)}{self._to_default()}{curve}"

    def _of_engines(self) -> str:
        states = [f"{n} {state}" for state, n in self._engines.items() if n]
        ends = Counter(record.state for record in self._trials)
        lost = [f"{ends[s]} {s}" for s in ("stopped", "infeasible", "failed") if ends[s]]
        counts = ", ".join((*lost, f"{self._repeated} repeated"))
        return f"engines: {', '.join(states) or '-'} | {self._tokens():.0f} tokens/s | {counts}"

    def _to_default(self) -> str:
        """The difference of the best to the default recipe, in points."""
        if self._best is None or self._default is None:
            return ""
        if self._best.key in self._rule.defaults:
            return " (a default recipe)"
        main = targets.TARGETS[0].score
        ours, theirs = self._best.value(main), self._default.value(main)
        if ours is None or theirs is None:
            return ""
        return f" ({signed(ours - theirs)} to the default recipe)"

    def _tokens(self) -> float:
        return self._pace.tokens(self._clock()) if self._pace else 0.0

    def _left(self, before: str) -> str:
        seconds = self._pace.seconds_left(self._clock()) if self._pace else None
        return "" if seconds is None else f"{before}{duration(seconds)} left"


def sparkline(values: Sequence[float], columns: int = CURVE) -> str:
    """A curve of one line: the last value of each part, from the lowest to the highest of all."""
    if not values:
        return ""
    columns = min(columns, len(values))
    ends = [values[(place + 1) * len(values) // columns - 1] for place in range(columns)]
    low, high = min(ends), max(ends)
    steps = len(_BLOCKS) - 1
    return "".join(
        _BLOCKS[round(steps * (v - low) / (high - low)) if high > low else 0] for v in ends
    )


def duration(seconds: float) -> str:
    """Seconds as a person says them: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _scores(record: Record) -> str:
    return ", ".join(
        f"{target.score} {percent(value)}"
        for target in targets.TARGETS
        if (value := record.value(target.score)) is not None
    )
