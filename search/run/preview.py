"""Which study a command line means, as `search.run.opening` has it, but nothing is made or taken.

Owns functions of the same names and arguments, for a command that only says what it would do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search.common.errors import StudyError
from search.config.schema import Config
from search.records.head import StudyHead, taken
from search.records.reader import RecordsReader
from search.records.study_path import StudyPath, check_name
from search.run.opening import matching_config, resumed_config


@dataclass(frozen=True)
class DryRun:
    """A study that a command would run.

    Attributes:
        name: the study's.
        config: what it would run with.
        records: the study as it is; None for a new one.
        source: the study whose best recipes would be proposed first.
    """

    name: str
    config: Config
    records: RecordsReader | None = None
    source: StudyPath | None = None


def begin(config: Config, out: StudyPath, name: str, source: StudyPath | None = None) -> DryRun:
    """A new study. Errors as of `opening.begin`, but for a folder that cannot be written."""
    check_name(name)
    path = out / name
    if RecordsReader.exists(path):
        there = RecordsReader.read(path).head()
        here = StudyHead(name, config.model_dump(mode="json"))
        raise StudyError(taken(there, here, str(path)))
    return DryRun(name, config, source=source)


def begin_or_resume(
    config: Config, out: StudyPath, name: str, source: StudyPath | None = None
) -> DryRun:
    """The study of this name if there is one, or a new one. Errors as of the original."""
    check_name(name)
    path = out / name
    if not RecordsReader.exists(path):
        return begin(config, out, name, source)
    records = RecordsReader.read(path)
    return DryRun(name, matching_config(config, records.head(), path), records)


def resume(
    path: StudyPath, overrides: Sequence[str] = (), trials: int = 0, *, trusted: bool = False
) -> DryRun:
    """An existing study, which another process may hold. Errors as of the original."""
    records = RecordsReader.read(path)
    config, head = resumed_config(records.head(), path, overrides, trials, trusted=trusted)
    return DryRun(head.name, config, records)
