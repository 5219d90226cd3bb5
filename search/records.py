"""A study's folder: its configuration and one appended, fsynced line for each ended trial.

    <out>/<study>/
      study.yaml            the whole configuration, family and objective included
      trials.jsonl          one line per ended trial: what `Record` holds
      items/KEY.SPLIT.jsonl.gz   per-item prompts, answers and verdicts of a trial
      optuna.journal        Optuna's own log
      mlflow.json           the study's id in MLflow, and its tags
      report.md, report.tsv, *.png   written after the search

The records are the truth that a study is resumed and reported from. Knows nothing of Ray, Optuna,
MLflow or of what the scores mean.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import FileLock, Timeout

from objectives.types import ItemResult, Message, Score, Split, Step
from search.errors import StudyError
from search.recipe import AnyRecipe, from_dict, to_dict

SCHEMA = 1
State = Literal["scored", "infeasible", "failed"]
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
        items: file of its per-item answers, relative to the study's folder; empty when none.
    """

    number: int
    key: str
    split: Split
    state: State
    origin: Origin
    label: str
    recipe: AnyRecipe
    scores: Mapping[str, Score] = field(default_factory=dict)
    reason: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    tokens: int = 0
    written: int = 0
    layers: int = 0
    attempts: int = 1
    ended: float = 0.0
    host: str = ""
    items: str = ""

    def value(self, name: str) -> float | None:
        """A score as a share, None where it is missing or not defined."""
        score = self.scores.get(name)
        return None if score is None else score.value

    def to_json(self) -> str:
        """The record as one line."""
        data = {"schema": SCHEMA, **asdict(self), "recipe": to_dict(self.recipe)}
        return json.dumps(data, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Record:
        """The inverse of `to_json`.

        Raises:
            ValueError: the line is not a record of this schema.
        """
        data = json.loads(line)
        if not isinstance(data, dict) or data.pop("schema", None) != SCHEMA:
            raise ValueError(f"not a record of schema {SCHEMA}")
        data["recipe"] = from_dict(data["recipe"])
        data["scores"] = {name: Score(**score) for name, score in data["scores"].items()}
        return cls(**data)


@dataclass(frozen=True)
class StudyHead:
    """What study.yaml holds: the study's name, its whole configuration, and what ran it.

    Attributes:
        name: the study's name in Optuna and MLflow.
        config: `search.config.Config` as plain values.
        versions: package -> version.
        schema: of this file and of the records.
    """

    name: str
    config: Mapping[str, Any]
    versions: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA


class Records:
    """The folder of one study, held by one driver at a time."""

    def __init__(self, folder: Path) -> None:
        """Take a folder that `create` or `open` prepared; use those instead."""
        self.folder = folder
        self.trials: list[Record] = []
        self._lock = FileLock(folder / ".lock")

    @classmethod
    def create(cls, folder: Path, head: StudyHead) -> Records:
        """Make the folder and write study.yaml.

        Raises:
            StudyError: the folder cannot be written, or holds a study already.
        """
        if (folder / "study.yaml").exists():
            raise StudyError(_taken(folder, head))
        try:
            (folder / "items").mkdir(parents=True, exist_ok=True)
            records = cls(folder)
            records._take()
            text = yaml.safe_dump(asdict(head), sort_keys=False, allow_unicode=True)
            _write(folder / "study.yaml", text.encode())
        except OSError as error:
            raise StudyError(
                f"{folder} cannot be written: {error}; name another folder with --out"
            ) from None
        return records

    @classmethod
    def open(cls, folder: Path) -> Records:
        """Open an existing study and read its trials.

        A last line that a crash cut off is moved to trials.jsonl.cut.

        Raises:
            StudyError: no study is there, another driver holds it, or a line is not a record.
        """
        if not (folder / "study.yaml").is_file():
            raise StudyError(f"{folder} holds no study (no study.yaml)")
        records = cls(folder)
        records._take()
        records._read()
        return records

    @classmethod
    def read(cls, folder: Path) -> Records:
        """Read a study as it is now, without taking it: a search may be running on it.

        Nothing is written, and nothing may be appended; a last line that is not complete is left
        out.

        Raises:
            StudyError: no study is there, or a line is not a record.
        """
        if not (folder / "study.yaml").is_file():
            raise StudyError(f"{folder} holds no study (no study.yaml)")
        records = cls(folder)
        records._read(mend=False)
        return records

    def head(self) -> StudyHead:
        """What study.yaml holds.

        Raises:
            StudyError: it is not a study's head.
        """
        try:
            return StudyHead(**yaml.safe_load((self.folder / "study.yaml").read_text("utf-8")))
        except (OSError, yaml.YAMLError, TypeError) as error:
            raise StudyError(f"{self.folder}/study.yaml cannot be used: {error}") from None

    def discard(self) -> None:
        """Remove a study that holds no trial: what was asked for turned out to be wrong."""
        self.close()
        if not self.trials:
            shutil.rmtree(self.folder, ignore_errors=True)

    def append(self, record: Record, items: bytes = b"") -> Record:
        """Write a trial's items, then its line; on return both are on disk.

        Args:
            record: the trial; its `items` and `number` are set here.
            items: gzipped JSON lines from `pack_items`.

        Returns:
            The record as written.

        Raises:
            StudyError: the disk refuses.
        """
        name = f"items/{record.key}.{record.split}.jsonl.gz" if items else ""
        data = {**record.__dict__, "items": name, "number": len(self.trials)}
        record = Record(**data)
        try:
            if items:
                _write(self.folder / name, items)
            with open(self.folder / "trials.jsonl", "a", encoding="utf-8") as file:
                file.write(record.to_json() + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StudyError(
                f"trial {record.label} cannot be recorded in {self.folder}: {error}; make room, "
                f"then --resume {self.folder}"
            ) from None
        self.trials.append(record)
        return record

    def ended(self, split: Split) -> dict[str, Record]:
        """Canonical key -> the trial that ended on these items."""
        return {record.key: record for record in self.trials if record.split == split}

    def items(self, record: Record) -> list[dict[str, Any]]:
        """Per-item answers of a trial, one mapping each; empty where it has none.

        The mappings have the fields of `ItemResult`: `prompt` is text or messages, `steps` a tuple,
        empty where no trace was asked for.
        """
        if not record.items:
            return []
        with gzip.open(self.folder / record.items, "rt", encoding="utf-8") as file:
            return [_unpack(json.loads(line)) for line in file]

    def close(self) -> None:
        """Let another driver take the study."""
        self._lock.release()

    def _take(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise StudyError(f"{self.folder} is in use by another running search") from None

    def _read(self, mend: bool = True) -> None:
        file = self.folder / "trials.jsonl"
        if not file.exists():
            return
        data = file.read_bytes()
        whole, newline, cut = data.rpartition(b"\n")
        if cut and mend:
            _write(file.with_suffix(".jsonl.cut"), cut)
            _write(file, whole + newline)
        for number, line in enumerate(filter(None, whole.decode().split("\n")), 1):
            try:
                self.trials.append(Record.from_json(line))
            except (ValueError, TypeError, KeyError) as error:
                raise StudyError(f"{file}, line {number} is not a record: {error}") from None


def pack_items(results: Iterable[ItemResult]) -> bytes:
    """Per-item results as gzipped JSON lines, the same bytes for the same results.

    A trace becomes three columns (texts, entropies to 1e-4 nat, nucleus sizes), less than half the
    size of one mapping for each token.
    """
    lines = [json.dumps(_pack(result), ensure_ascii=False) for result in results]
    return gzip.compress("\n".join(lines).encode(), compresslevel=6, mtime=0)


def _pack(result: ItemResult) -> dict[str, Any]:
    row = {f.name: getattr(result, f.name) for f in fields(result) if f.name != "steps"}
    if not isinstance(result.prompt, str):
        row["prompt"] = [asdict(message) for message in result.prompt]
    if result.steps:
        row["steps"] = {
            "text": [step.text for step in result.steps],
            "entropy": [round(step.entropy, 4) for step in result.steps],
            "nucleus": [step.nucleus for step in result.steps],
        }
    return row


def _unpack(row: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `_pack`."""
    if not isinstance(row["prompt"], str):
        row["prompt"] = tuple(Message(**message) for message in row["prompt"])
    columns = row.get("steps", {})
    row["steps"] = tuple(map(Step, *columns.values())) if columns else ()
    return row


def _taken(folder: Path, head: StudyHead) -> str:
    there = _flat(yaml.safe_load((folder / "study.yaml").read_text("utf-8")).get("config", {}))
    here = _flat(head.config)
    differ = [
        f"{name} ({there.get(name)!r} there, {here.get(name)!r} here)"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]
    if not differ:
        return f"{folder} holds this study already: go on with --resume {folder}"
    return (
        f"study {folder.name} exists with another configuration: {', '.join(differ[:5])}; "
        f"name another with --study, or go on with --resume {folder}"
    )


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, Mapping):
        return {prefix: values}
    return {
        name: inner
        for key, value in values.items()
        for name, inner in _flat(value, f"{prefix}.{key}" if prefix else str(key)).items()
    }


def _write(file: Path, data: bytes) -> None:
    """Write a file so that it is whole or absent after a crash."""
    part = file.with_name(file.name + ".part")
    with open(part, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    os.replace(part, file)
