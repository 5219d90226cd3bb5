"""What a person sees while a study runs: a progress display, or plain lines without a terminal.

Owns only the display; it listens to the study and changes nothing.
"""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from objectives import targets
from search.records.record import Origin, Record
from search.results.choose import gains
from search.values import percent


class ProgressDisplay:
    """Counts trials; in a terminal one live line, elsewhere one line for each ended trial."""

    def __init__(self, console: Console, total: int, done: int = 0) -> None:
        """Begin to show.

        Args:
            console: where to.
            total: trials that the whole study has, baselines and the final table's included.
            done: how many of them are in the records already.
        """
        self._console = console
        self._total = total
        self._done = done
        self._ended = 0
        self._running = 0
        self._repeated = 0
        self._tokens = 0
        self._begun: float | None = None
        self._best: Record | None = None
        self._progress = Progress(
            TextColumn("{task.fields[stage]}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bar = self._progress.add_task("", total=total, completed=done, stage="", status="")
        self._progress.start()

    def started(self, name: str, origin: Origin) -> None:
        """A trial was handed to an engine."""
        self._running += 1
        self._begun = self._begun or time.monotonic()
        stage = {"baseline": "baselines", "final": "held-out"}.get(origin, origin)
        self._progress.update(self._bar, stage=stage, status=self._status(name))

    def ended(self, record: Record) -> None:
        """A trial is in the records."""
        self._running -= 1
        self._done += 1
        self._ended += 1
        self._tokens += record.tokens
        if _is_better(record, self._best):
            self._best = record
        self._progress.update(self._bar, completed=self._done, status=self._status(""))
        if not self._console.is_terminal:
            line = self._line(record)  # an error's text may hold what looks like markup
            self._console.print(line, soft_wrap=True, highlight=False, markup=False)

    def repeated(self) -> None:
        """A proposal was answered from the records."""
        self._repeated += 1

    def close(self) -> None:
        """End the display."""
        self._progress.stop()

    def _line(self, record: Record) -> str:
        scores = ", ".join(
            f"{target.score} {percent(value)}"
            for target in targets.TARGETS
            if (value := record.value(target.score)) is not None
        )
        found = scores if record.state == "scored" else f"{record.state}: {record.reason}"
        left = ""
        if self._begun is not None:
            rate = (time.monotonic() - self._begun) / self._ended
            left = f", {max(0, self._total - self._done) * rate:.0f} s left"
        split = " (held-out)" if record.split == "held_out" else ""
        return (
            f"[{self._done}/{self._total}] {record.label}{split}: {found}"
            f" | {self._repeated} repeated, {self._speed():.0f} tokens/s{left}"
        )

    def _status(self, name: str) -> str:
        best = ""
        if self._best is not None:
            main = targets.TARGETS[0].score
            best = f"best {percent(self._best.value(main))} {self._best.label} | "
        return (
            f"{best}{self._running} running, {self._repeated} repeated, {self._speed():.0f} tok/s"
            + (f" | {name}" if name else "")
        )

    def _speed(self) -> float:
        if self._begun is None:
            return 0.0
        return self._tokens / max(1e-6, time.monotonic() - self._begun)


def _is_better(record: Record, best: Record | None) -> bool:
    if record.origin != "search" or record.state != "scored":
        return False
    return best is None or gains(record)[0] > gains(best)[0]
