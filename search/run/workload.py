"""How much a study has to score, how much of it is left, and how fast it goes now.

Counted in answered items, not in trials: one that was stopped early answered fewer, and the final
table has other items than the search. Pure; the clock comes from the caller.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from objectives.types import Objective, Split
from objectives.words import counted
from search.config.schema import SearchConfig
from search.records.record import Origin, Record
from search.results.choose import Choice, best_rivals, rival_roles
from search.study.retries import finished_trials

SPLITS: tuple[Split, ...] = ("search", "held_out")
_STAGES = {"baseline": "the baselines", "search": "the search", "final": "the final table"}
WORK = ("materialise", "generate", "score")
"""What a trial's time is spent on; the rest of its total is the start of its engine."""
WINDOW = 16
"""Ends of trials that "now" reaches back to; twice the running ones where those are more."""


@dataclass(frozen=True)
class Workload:
    """What a study scores from its first trial to its last.

    Attributes:
        recipes: who proposes them -> how many; as `Record.origin`.
        items: items that each recipe answers, of all objectives together.
    """

    recipes: Mapping[Origin, int]
    items: Mapping[Split, int]

    @property
    def total(self) -> int:
        """Trials in all."""
        return sum(self.recipes.values())

    def answered(self, record: Record) -> float:
        """Items that a trial answered."""
        return _share(record) * self.items[record.split]

    def standing(self, trials: Sequence[Record]) -> str:
        """What of the study has ended, in words, and where it goes on.

        Args:
            trials: its records; of those that failed in a row, each is tried again.
        """
        if not trials:
            return f"begins: {counted(self.total, 'trial')}"
        kept, left = _kept(trials), self.unfinished(trials)
        states = Counter(record.state for record in kept)
        ended = ", ".join(f"{n} {state}" for state, n in states.items())
        again = tried_again(trials)
        total = max(self.total, len(kept))
        said = f"{len(kept)} of {counted(total, 'trial')} ended" + (f" ({ended})" if kept else "")
        said += f", {again} that failed in a row tried again" if again else ""
        if not left:
            return f"has nothing left to run: {said}"
        first = next(iter(left))
        goes_on = _STAGES.get(first, f"the search of {first}")
        return f"goes on with {goes_on}: {said}, {sum(left.values())} left"

    def unfinished(self, trials: Sequence[Record]) -> Mapping[Origin, int]:
        """Who has recipes left to score, and how many.

        Args:
            trials: as for `standing`.
        """
        done = Counter(record.origin for record in _kept(trials))
        return {o: n - done[o] for o, n in self.recipes.items() if n > done[o]}

    def left(self, trials: Iterable[Record], share: float = 1.0) -> float:
        """Items that are still to be answered.

        Proposed recipes that follow are taken to be stopped as early as those before them.

        Args:
            trials: those that have ended.
            share: of its items that a proposed recipe answers, where none has ended.
        """
        ended = list(trials)
        done = Counter(record.origin for record in ended)
        share = proposed_share(ended, share)
        return sum(
            max(0, wanted - done[origin])
            * (share if may_stop(origin) else 1.0)
            * self.items["held_out" if origin == "final" else "search"]
            for origin, wanted in self.recipes.items()
        )


def planned(
    search: SearchConfig, baselines: int, final: int, objectives: Iterable[Objective]
) -> Workload:
    """What a study scores.

    Args:
        search: how it runs.
        baselines: recipes that are scored before the search.
        final: rows of the final table.
        objectives: what a recipe is scored on.
    """
    rivals = {method: trials for method, trials in search.baselines.items() if trials}
    recipes = {"baseline": baselines, "search": search.trials, **rivals, "final": final}
    return Workload(recipes, items_of(objectives))


def final_rows(
    search: SearchConfig, rows: int, known: Choice | None, trials: Sequence[Record]
) -> int:
    """Rows of the final table when the search is over.

    Args:
        search: how the study runs.
        rows: those that there would be now.
        known: what is recommended now.
        trials: what has ended.
    """
    rivals = {method for method, budget in search.baselines.items() if budget}
    missing = len(rivals & rival_roles().keys()) - len(best_rivals(trials))
    return rows + (known is None) + missing


def tried_again(trials: Sequence[Record]) -> int:
    """How many trials failed with others in a row, and are tried again."""
    return len({(record.key, record.split) for record in trials}) - len(_kept(trials))


def _kept(trials: Sequence[Record]) -> list[Record]:
    """The trials that are not tried again."""
    return [r for split in SPLITS for r in finished_trials(trials, split).values()]


def proposed_share(trials: Iterable[Record], unknown: float = 1.0) -> float:
    """The part of its items that a proposed recipe answered, on average."""
    found = [_share(record) for record in trials if may_stop(record.origin)]
    return sum(found) / len(found) if found else unknown


def items_of(objectives: Iterable[Objective]) -> dict[Split, int]:
    """How many items a recipe answers on each split."""
    asked = list(objectives)
    return {split: sum(len(o.requests(split)) for o in asked) for split in SPLITS}


def may_stop(origin: Origin) -> bool:
    """Whether a trial of this origin may be stopped early: those that a search proposes."""
    return origin not in ("baseline", "final")


def _share(record: Record) -> float:
    """The part of its items that a trial answered; of a failed one nothing is known."""
    if record.stopped is not None:
        return record.stopped.items / record.stopped.total
    return 0.0 if record.state == "failed" else 1.0


class Pace:
    """Tokens and items a second of the last ends, and the seconds that are left."""

    def __init__(self, work: Workload, trials: Sequence[Record], now: float) -> None:
        """Begin to measure.

        Args:
            work: what the study has to score.
            trials: what has ended; it may grow, and each that ends is told by `ended` as well.
            now: clock in seconds.
        """
        self._work, self._trials = work, trials
        self._ends: deque[tuple[float, int, float]] = deque([(now, 0, 0.0)])

    def ended(self, record: Record, running: int, now: float) -> None:
        """A trial has ended, while so many others run; the first engine's start does not count."""
        if len(self._ends) == 1:
            work = (record.seconds.get(name, 0.0) for name in WORK)
            self._ends[0] = (max(self._ends[0][0], now - sum(work)), 0, 0.0)
        self._ends.append((now, record.tokens, self._work.answered(record)))
        while len(self._ends) > max(WINDOW, 2 * running) + 1:
            self._ends.popleft()

    def tokens(self, now: float) -> float:
        """Tokens a second."""
        return self._rate(1, now)

    def seconds_left(self, now: float) -> float | None:
        """Seconds until all is scored; None before a trial has ended."""
        rate = self._rate(2, now)
        return self._work.left(self._trials) / rate if rate else None

    def _rate(self, column: int, now: float) -> float:
        """Of what ended after the first of the ends that are kept."""
        first, *others = self._ends
        return sum(end[column] for end in others) / max(now - first[0], 1e-6)
