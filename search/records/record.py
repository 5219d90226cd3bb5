"""One ended trial, and its line in a study's trials.jsonl.

Owns what is kept of a trial and its JSON. Where the lines are kept is `search.records.reader`'s.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from objectives.types import Score, Split
from search.errors import RecipeError, StudyError
from search.merging.recipe import Recipe, from_dict, to_dict
from search.records.place import is_name

SCHEMA = 1
State = Literal["scored", "infeasible", "failed"]
Cause = Literal["", "engine", "process", "timeout", "expert", "scorer"]
Origin = str
"""`baseline`, `search` or `final`; of a rival method's trial, the method's name."""


@dataclass(frozen=True)
class Record:
    """One ended trial.

    Attributes:
        number: its place in the study, from 0.
        key: key of the canonical recipe.
        split: the items it was scored on.
        state: scored; infeasible (with the reason); failed (with the cause).
        origin: scored before the search, proposed by it or for a rival method, or for the final
            table.
        label: a name a person can read.
        recipe: what was merged.
        scores: score name -> share with interval and counts; empty unless scored or infeasible.
        reason: why it is infeasible or failed; empty when scored.
        seconds: `materialise`, `generate`, `score`, `total`, in seconds.
        tokens: tokens generated.
        written: bytes of merged tensors written into the engine.
        layers: layers rewritten.
        attempts: engines it took, 1 or 2.
        ended: Unix time of its end.
        host: host name and process of the engine.
        note: what of its per-item answers was too large to keep; empty when nothing.
        items: file of its per-item answers, relative to the study's folder; empty when none.
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

    def __post_init__(self) -> None:
        """Refuse a file of answers outside the study's folder.

        Raises:
            ValueError: it is.
        """
        folder, _, name = self.items.partition("/")
        if self.items and not (folder == "items" and is_name(name)):
            raise ValueError(f"{self.items!r} is no file of items/")

    def value(self, name: str) -> float | None:
        """A score as a share, None where it is missing or not defined."""
        score = self.scores.get(name)
        return None if score is None else score.value

    def to_json(self) -> str:
        """The record as one line."""
        data = {"schema": SCHEMA, **asdict(self), "recipe": to_dict(self.recipe)}
        return json.dumps(data, ensure_ascii=False)

    def to_line(self) -> bytes:
        """The record as trials.jsonl has it."""
        return f"{self.to_json()}\n".encode()

    @classmethod
    def from_json(cls, line: str) -> Record:
        """The inverse of `to_json`.

        Raises:
            ValueError, TypeError, KeyError, AttributeError, RecipeError: the line is not a record
                of this schema.
        """
        data = json.loads(line)
        schema = data.pop("schema", None) if isinstance(data, dict) else None
        if schema != SCHEMA:
            newer = isinstance(schema, int) and schema > SCHEMA
            why = "a newer version wrote it; update this one" if newer else f"this reads {SCHEMA}"
            raise ValueError(f"its schema is {schema}, {why}")
        data["recipe"] = from_dict(data["recipe"])
        data["scores"] = {name: Score(**score) for name, score in data["scores"].items()}
        return cls(**data)


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
        except (ValueError, TypeError, KeyError, AttributeError, RecipeError) as error:
            raise StudyError(
                f"{where}/trials.jsonl, line {number} is not a record: {error}"
            ) from None
    return found


def next_number(records: Sequence[Record]) -> int:
    """The number of the record that follows."""
    return records[-1].number + 1 if records else 0
