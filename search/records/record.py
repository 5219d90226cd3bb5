"""One ended trial, and its line in a study's trials.jsonl.

Owns what is kept of a trial and its JSON. Where the lines are kept is `search.records.store`'s.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

from objectives.types import Score, Split
from search.common.errors import RecipeError, StudyError
from search.common.values import all_escaped, built, escaped_json
from search.merging.recipe import Recipe, from_dict, to_dict
from search.records.study_path import is_name

SCHEMA = 1
State = Literal["scored", "stopped", "infeasible", "failed"]
Origin = str
"""`baseline`, `search` or `final`; of a rival method's trial, the method's name."""
Cause = Literal["", "engine", "process", "timeout", "expert", "scorer"]
"""What made a trial fail: its engine raised; the engine's process died, or did not start; it took
too long; an expert could not be read; an objective could not score the answers."""
CAUSES: tuple[Cause, ...] = get_args(Cause)


@dataclass(frozen=True)
class Stopped:
    """Why a trial was stopped before its end.

    Attributes:
        items: items of the first target that it had answered.
        total: items that there are.
        estimate: accuracy that the sampler is told: the incumbent's and a part of the difference.
        incumbent: key of the recipe that it was compared with; empty where a floor was the reason.
        chance: probability that it would still have been good enough.
    """

    items: int
    total: int
    estimate: float
    incumbent: str
    chance: float


@dataclass(frozen=True)
class Record:
    """One ended trial.

    Attributes:
        number: its place in the study, from 0.
        key: key of the canonical recipe.
        split: the items it was scored on.
        state: scored; stopped, as it could hardly be better than the best so far; infeasible (with
            the reason); failed (with the cause).
        origin: scored before the search, proposed by it or for a rival method, or for the final
            table.
        label: a name a person can read.
        recipe: what was merged.
        scores: score name -> share with interval and counts, of a stopped trial those of its first
            items; empty unless scored, infeasible or stopped.
        reason: why it is infeasible, stopped or failed; empty when scored.
        cause: what made it fail; empty unless failed, and where it is not known, as in records of
            earlier versions.
        seconds: `materialise`, `generate`, `score`, `total`, in seconds.
        tokens: tokens generated.
        written: bytes of merged tensors written into the engine.
        layers: layers rewritten.
        attempts: engines it took: those that answered or raised, and those whose process died
            under it while their node lived; so 3 where one died and two raised.
        ended: Unix time of its end.
        host: host name and process of the engine.
        note: what of its per-item answers was too large to keep; empty when nothing.
        items: file of its per-item answers, relative to the study's folder; empty when none.
        place: its place in the sequence of proposals, from 0; None for the final table's, and in
            records of earlier versions.
        stopped: when and why it was stopped; None unless it was.
    """

    number: int
    key: str
    split: Split
    state: State
    origin: Origin
    label: str
    recipe: Recipe
    scores: Mapping[str, Score] = field(default_factory=dict)
    reason: str = ""
    cause: Cause = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    tokens: int = 0
    written: int = 0
    layers: int = 0
    attempts: int = 1
    ended: float = 0.0
    host: str = ""
    note: str = ""
    items: str = ""
    place: int | None = None
    stopped: Stopped | None = None

    def __post_init__(self) -> None:
        """Refuse a file of answers outside the study's folder, and a cause where there is none.

        Raises:
            ValueError: naming it.
        """
        folder, _, name = self.items.partition("/")
        if self.items and not (folder == "items" and is_name(name)):
            raise ValueError(f"{self.items!r} is no file of items/")
        if self.cause and self.state != "failed":
            raise ValueError(f"a trial that is {self.state} has the cause {self.cause!r}")
        if (self.stopped is not None) != (self.state == "stopped"):
            has = "lacks the field" if self.stopped is None else "has a field"
            raise ValueError(f"a trial that is {self.state} {has} stopped")

    def value(self, name: str) -> float | None:
        """A score as a share, None where it is missing or not defined."""
        score = self.scores.get(name)
        return None if score is None else score.value

    def to_json(self) -> str:
        """The record as one line; what later versions have added is left out where it is empty."""
        data = {"schema": SCHEMA, **asdict(self), "recipe": to_dict(self.recipe)}
        for name, empty in (("cause", ""), ("place", None), ("stopped", None)):
            if data[name] == empty:
                del data[name]
        return escaped_json(data)

    def to_line(self) -> bytes:
        """The record as trials.jsonl has it."""
        return f"{self.to_json()}\n".encode()

    @classmethod
    def from_json(cls, line: str) -> Record:
        """The inverse of `to_json`.

        Raises:
            ValueError, RecursionError, RecipeError: the line is not a record of this schema.
        """
        data = json.loads(line)
        if "\\u" in line:  # JSON of others may spell what no file can hold
            data = all_escaped(data)
        schema = data.pop("schema", None) if isinstance(data, dict) else None
        if schema != SCHEMA:
            newer = isinstance(schema, int) and schema > SCHEMA
            why = "a newer version wrote it; update this one" if newer else f"this reads {SCHEMA}"
            raise ValueError(f"its schema is {schema}, {why}")
        data["recipe"] = from_dict(data.get("recipe", {}))
        if isinstance(scores := data.get("scores"), dict):
            data["scores"] = {name: built(Score, score) for name, score in scores.items()}
        if data.get("stopped") is not None:
            data["stopped"] = built(Stopped, data["stopped"])
        return built(cls, data)


_NO_RECORD = (ValueError, RecursionError, RecipeError)


def parse(lines: Iterable[bytes], where: str) -> list[Record]:
    """The records of a study from their lines.

    Args:
        lines: as `Record.to_line` made them; empty ones are left out.
        where: the study, for errors.

    Raises:
        StudyError: a line is not a record of this schema.
    """
    found = []
    for number, line in enumerate(lines, 1):
        try:
            if line:
                found.append(Record.from_json(line.decode()))
        except _NO_RECORD as error:
            raise StudyError(
                f"{where}/trials.jsonl, line {number} is not a record: {error}"
            ) from None
    return found


def next_number(records: Sequence[Record]) -> int:
    """The number of the record that follows."""
    return records[-1].number + 1 if records else 0
