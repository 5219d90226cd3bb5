"""How often a trial and a node may fail, counted.

Owns the numbers and the counting; pure. What is done about it is `search.study.dispatcher`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, Protocol, TypeVar

from objectives.types import Split

ENGINES = 2
"""Engines that a trial gets before it counts as failed."""

FAILURES = 3
"""Failed trials in a row after which a node is not used further."""

FAILURES_IN_ALL = 9
"""Failures in a row, wherever, that end the search: by then it is the set-up that is broken."""


class Ended(Protocol):
    """What is asked of a record."""

    @property
    def key(self) -> str:
        """Key of the canonical recipe."""

    @property
    def split(self) -> Split:
        """The items it was scored on."""

    @property
    def state(self) -> Literal["scored", "stopped", "infeasible", "failed"]:
        """How it ended."""


R = TypeVar("R", bound=Ended)


def finished_trials(trials: Sequence[R], split: Split) -> dict[str, R]:
    """Canonical key -> the trial that ended on these items, those that are tried again left out.

    Those failed with others in a row: that many end a search, or cost a node, and the cause may
    have been mended.

    Args:
        trials: a study's records in their order.
        split: the items.
    """
    again, row = set[tuple[str, str]](), list[tuple[str, str]]()
    for record in trials:
        name = record.key, record.split
        again.discard(name)
        row = [*row, name] if record.state == "failed" else []
        again |= set(row) if len(row) >= FAILURES else set()
    return {r.key: r for r in trials if r.split == split and (r.key, split) not in again}


class FailureCounts:
    """Failures in a row: on each node, and in all."""

    def __init__(self) -> None:
        """Begin with none."""
        self._on: Counter[str] = Counter()
        self._in_all = 0

    def succeeded(self, node: str | None) -> None:
        """A trial ended scored or infeasible."""
        self._in_all = 0
        if node is not None:
            self._on[node] = 0

    def failed(self, node: str | None) -> bool:
        """A trial failed or could not begin.

        Returns:
            Whether its node has now failed `FAILURES` trials in a row.
        """
        self._in_all += 1
        if node is None:
            return False
        self._on[node] += 1
        return self._on[node] == FAILURES

    def explained(self) -> None:
        """A node was left out: its failures say nothing of the others."""
        self._in_all = max(0, self._in_all - FAILURES)

    @property
    def hopeless(self) -> bool:
        """Whether failures do not end, wherever trials run."""
        return self._in_all >= FAILURES_IN_ALL
