"""What is proposed when: baselines, the search, the rivals' searches, then the final table.

Owns the sequence of a study and which ends Optuna may know at each of its steps. With a lag of k,
proposal i is made from the trials up to i - k only, told in their order: the same seed and number
of engines then give the same recipes in the same order, whatever engine ends first. Knows nothing
of Ray; Optuna is seen as phases that propose.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from objectives.types import Split
from search.merging.recipe import Recipe, from_dict, key
from search.records.record import Origin, Record
from search.study.race import Threshold
from search.study.retries import finished_trials
from search.study.schedule import knows

REPEATS = 25
"""Repeated proposals in a row after which the next one is drawn from what is left of the space."""


SetThreshold = Callable[[Recipe, Origin, Iterable[Record]], Threshold | None]
"""Recipe, who proposed it, the ends its proposal was made from -> what it is held to."""


def no_threshold(recipe: Recipe, origin: Origin, known: Iterable[Record]) -> None:
    """Every recipe is scored in full."""


class Proposal(Protocol):
    """A recipe whose end somebody waits to hear of; `search.study.proposing.phase.Proposal`."""

    @property
    def key(self) -> str:
        """Key of the canonical recipe."""

    @property
    def origin(self) -> Origin:
        """Who proposed it."""

    @property
    def recipe(self) -> str:
        """The recipe as JSON."""

    def tell(self, record: Record) -> None:
        """Its end; called once."""

    def drop(self) -> None:
        """It is not tried."""


class Phase(Protocol):
    """One search with a budget of its own; `search.study.proposing.phase.Phase`."""

    @property
    def origin(self) -> Origin:
        """`search`, or the name of a rival method."""

    @property
    def trials(self) -> int:
        """Distinct recipes to score."""

    @property
    def seen(self) -> set[str]:
        """Keys already proposed, one set for all phases."""

    def propose(self, place: int) -> Proposal:
        """The recipe at a place of the order, perhaps one that was proposed before."""

    def first(self, point: dict[str, Any]) -> None:
        """Propose these parameters next."""

    def unseen(self, seed: int) -> dict[str, Any] | None:
        """Parameters of a recipe that was never proposed; None when there are none."""

    def owes_baseline(self) -> bool:
        """Whether a recipe waits that costs nothing of the budget."""


@dataclass(frozen=True)
class Candidate:
    """A recipe to be scored.

    Attributes:
        recipe: what is merged.
        key: key of the canonical recipe.
        origin: who proposed it.
        split: the items that it is scored on.
        place: its place in the sequence of proposals; None for the final table's, which nobody
            proposed.
        threshold: what it is held to before its end; None where it is scored in full.
    """

    recipe: Recipe
    key: str
    origin: Origin
    split: Split
    place: int | None = None
    threshold: Threshold | None = None


class Order:
    """The sequence of a study; every call may raise what its phases raise.

    Order of calls: any number of `next`, and `ended` once for each candidate with its record.
    """

    def __init__(
        self,
        phases: Sequence[Phase],
        trials: Sequence[Record],
        n_layers: int,
        final: Callable[[], Iterable[Recipe]],
        *,
        lag: int = 0,
        threshold: SetThreshold = no_threshold,
        repeated: Callable[[], None] = lambda: None,
    ) -> None:
        """Take up a study where its records end; the phases follow one another.

        Args:
            phases: the searches, at least one.
            trials: the study's records; they grow while it runs.
            n_layers: the model's number of layers L.
            final: called when the search is over: the recipes to score on the held-out items.
            lag: k, at least the number of engines; 0: each end is told at once.
            threshold: what a proposed recipe is held to before its end, from the trials that its
                proposal was made from; by default nothing.
            repeated: called for each proposal that was made before.
        """
        self._phases = list(phases)
        self._trials, self._n_layers, self._final = trials, n_layers, final
        self._lag, self._repeated, self._threshold = lag, repeated, threshold
        self._seen = self._phases[0].seen
        self._known = finished_trials(trials, "search")
        self._begun_with = len(trials)
        self._proposed = Counter(record.origin for record in trials)
        self._waiting: dict[int, list[Proposal]] = {}  # place -> who waits for its end
        self._places: dict[str, int] = {}
        self._ends: dict[int, Record] = {}  # not told yet
        self._taken = {record.place for record in self._known.values()}
        self._handed = self._free(0)  # the place of the next proposal
        self._queue: list[Recipe] | None = None
        self._seen.update(self._known)

    def next(self) -> Candidate | None:
        """The next recipe; None if there is none before another trial has ended, or at all."""
        while self._phases:
            if not self._may_propose():
                return None
            phase = self._phases[0]
            left = self._proposed[phase.origin] < phase.trials
            found = self._propose(phase) if left else self._owed(phase)
            if found is not None:
                self._proposed[found.origin] += 1
                return found
            self._phases.pop(0)
            self._tell()
        if self._queue is None:
            if self._waiting:
                return None  # the choice needs every search trial's end
            done = finished_trials(self._trials, "held_out")
            self._queue = [r for r in self._final() if key(r, self._n_layers) not in done]
        if not self._queue:
            return None
        recipe = self._queue.pop(0)
        return Candidate(recipe, key(recipe, self._n_layers), "final", "held_out")

    def ended(self, candidate: Candidate, record: Record) -> None:
        """A candidate is on record; who waits for its end hears of it, now or in its turn."""
        if candidate.place is not None:
            self._ends[candidate.place] = record
            self._tell()

    def _free(self, place: int) -> int:
        """The first place from this one on whose trial has not ended in an earlier run."""
        while place in self._taken:
            place += 1
        return place

    def _may_propose(self) -> bool:
        """Whether every end that the next proposal is to know is there."""
        front = next(iter(self._waiting), self._handed)
        return self._lag == 0 or front > self._handed - self._lag

    def _tell(self) -> None:
        """Tell the ends that may be known by now: all, or with a lag those in front, in order."""
        while self._ends:
            place = next(iter(self._waiting)) if self._lag else next(iter(self._ends))
            early = self._lag and self._phases and place > self._handed - self._lag
            if early or place not in self._ends:
                return
            record = self._ends.pop(place)
            self._known[record.key] = record
            for proposal in self._waiting.pop(place):
                proposal.tell(record)

    def _owed(self, phase: Phase) -> Candidate | None:
        """A baseline that has no end yet, as after a crash; it costs nothing of the budget."""
        while phase.owes_baseline():
            proposal = phase.propose(self._handed)
            if proposal.key in self._seen:
                self._answer(proposal)
            elif proposal.origin == "baseline":
                return self._hand(proposal)
            else:
                proposal.drop()  # the next driver proposes it first again
        return None

    def _propose(self, phase: Phase) -> Candidate | None:
        """Ask until a recipe is named that was never asked for; None if all were."""
        for repeats in itertools.count(1):
            proposal = phase.propose(self._handed)
            if proposal.key not in self._seen:
                return self._hand(proposal)
            self._repeated()
            self._answer(proposal)
            if repeats % REPEATS == 0:
                point = phase.unseen(seed=repeats + self._begun_with + self._handed)
                if point is None:
                    return None
                phase.first(point)
        return None

    def _hand(self, proposal: Proposal) -> Candidate:
        place = self._handed
        self._seen.add(proposal.key)
        self._places[proposal.key] = place
        self._waiting[place] = [proposal]
        self._handed = self._free(place + 1)
        self._tell()
        recipe = from_dict(json.loads(proposal.recipe))
        threshold = self._threshold(recipe, proposal.origin, self._known_at(place))
        return Candidate(recipe, proposal.key, proposal.origin, "search", place, threshold)

    def _known_at(self, place: int) -> Iterator[Record]:
        """The ends that the proposal at a place was made from."""
        return (r for r in self._known.values() if knows(r.place, place, self._lag))

    def _answer(self, proposal: Proposal) -> None:
        """Tell a repeated proposal its end, now or when that is told."""
        known = self._known.get(proposal.key)
        if known is not None:
            proposal.tell(known)
        else:
            self._waiting[self._places[proposal.key]].append(proposal)
