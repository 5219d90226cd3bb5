"""The head of a study: what study.yaml holds beside the trials.

Owns its fields and its YAML. Where the file is kept is `search.records.store`'s.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from objectives import targets
from objectives.bounds import check_yaml
from objectives.target import Target
from search.checkpoints.meaning import MOST_LAYERS
from search.common.errors import StudyError
from search.common.values import differences, flatten, misfits, short, some

Value = TypeVar("Value")

LONGEST = 1000
"""Letters of a study's name and id, and its targets."""
STUDY_SCHEMA = 2
"""Of study.yaml; the first had no hashes of family and data."""


@dataclass(frozen=True)
class StudyHead:
    """What study.yaml holds: the study's name, its whole configuration, and what ran it.

    Attributes:
        name: the study's name in Optuna and MLflow.
        config: `search.config.schema.Config` as plain values, without passwords.
        versions: package -> version.
        schema: of this file.
        id: tells this study from all others, in a database and in MLflow.
        layers: number of layers L of the family's models; 0 before they were opened.
        family: source name -> its fingerprint (`search.run.fingerprint`); empty before the same.
        targets: the scores that are optimised or have a floor, `objectives.target.Target` each;
            empty before the same.
        data: objective, or file that decides scores, -> hash of its content.
        imported: the study whose best recipes were proposed first, and these.
        extensions: budgets that were added later: `when`, `trials`, `budget`.
        finished: when the final table was complete, in UTC; empty before.
    """

    name: str
    config: Mapping[str, Any]
    versions: Mapping[str, str] = field(default_factory=dict)
    schema: int = STUDY_SCHEMA
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    layers: int = 0
    family: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    targets: Sequence[Mapping[str, Any]] = field(default_factory=list)
    data: Mapping[str, str] = field(default_factory=dict)
    imported: Mapping[str, Any] = field(default_factory=dict)
    extensions: Sequence[Mapping[str, Any]] = field(default_factory=list)
    finished: str = ""

    def check_sizes(self) -> None:
        """Refuse counts and names beyond what a study can have, which what reads it would not end.

        Raises:
            ValueError: naming it.
        """
        if not 0 <= self.layers <= MOST_LAYERS:
            raise ValueError(f"layers is {self.layers}, and at most {MOST_LAYERS} are read")
        for name, many in (("name", self.name), ("id", self.id), ("targets", self.targets)):
            if len(many) > LONGEST:
                raise ValueError(f"{name} has a length of {len(many)}, at most {LONGEST}")

    def value(self, name: str, kind: Callable[[Any], Value]) -> Value:
        """One value of the configuration.

        Args:
            name: dotted, such as `family.name`.
            kind: what makes it what it should be: str, int, float.

        Raises:
            StudyError: it is missing, or something else.
        """
        found = flatten(self.config).get(name)
        try:
            if isinstance(found, str | int | float):
                return kind(found)
        except (ValueError, OverflowError):
            pass
        raise StudyError(f"study {self.name}: its configuration has {name} = {found!r}")

    def scored_on(self) -> tuple[Target, ...]:
        """What the study optimises.

        Raises:
            StudyError: that is no target.
        """
        try:
            return tuple(map(Target.from_dict, self.targets)) or targets.DEFAULT
        except TypeError as error:
            raise StudyError(f"study {self.name}: its targets cannot be read: {error}") from None

    def to_yaml(self) -> bytes:
        """The text of study.yaml."""
        return yaml.safe_dump(asdict(self), sort_keys=False, allow_unicode=True).encode()

    @classmethod
    def from_yaml(cls, data: bytes, where: str) -> StudyHead:
        """The inverse of `to_yaml`.

        Args:
            data: the text.
            where: the file's name for errors.

        Raises:
            StudyError: it is not the head of a study of this schema.
        """
        try:
            check_yaml(data)
            values = yaml.safe_load(data)
        except (yaml.YAMLError, UnicodeError, ValueError, RecursionError) as error:
            raise StudyError(f"{where} cannot be used: {error}") from None
        _check_schema(values, where)
        if unknown := sorted(str(key) for key in values.keys() - {f.name for f in fields(cls)}):
            raise StudyError(f"{where} has {some(unknown)}, which no study has")
        try:
            found = _heads().validate_python(values)
            found.check_sizes()
        except ValidationError as error:
            raise StudyError(f"{where} cannot be used: {misfits(error)}") from None
        except ValueError as error:
            raise StudyError(f"{where} cannot be used: {error}") from None
        return found


def _check_schema(values: object, where: str) -> None:
    """Refuse what is no head of this version's studies, with what to do."""
    if not isinstance(values, dict) or "schema" not in values:
        held = "is empty" if values is None else "holds no mapping with a schema"
        raise StudyError(f"{where} {held}: it is no study's, or was cut or edited")
    schema = values["schema"]
    if isinstance(schema, int) and schema > STUDY_SCHEMA:
        raise StudyError(
            f"{where} is of schema {short(schema)}, and this version knows {STUDY_SCHEMA}: a newer "
            "version wrote it; update this one"
        )
    if schema != STUDY_SCHEMA:
        raise StudyError(
            f"{where} is of schema {short(schema)}, not {STUDY_SCHEMA}: an older version wrote it, "
            "without the hashes that tell whether models and data are still the same. Begin a new "
            "study"
        )


@functools.cache
def _heads() -> TypeAdapter[StudyHead]:
    return TypeAdapter(StudyHead)


def taken(there: StudyHead, here: StudyHead, path: str) -> str:
    """Why a study cannot be made where another is, and what to do."""
    differ = [text for _, text in differences(there.config, here.config)]
    if not differ:
        return f"{path} holds this study already: go on with --resume {path}"
    return (
        f"study {here.name} exists with another configuration: {', '.join(differ[:5])}; "
        f"name another with --study, or go on with --resume {path}"
    )
