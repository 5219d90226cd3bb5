"""Which studies there are at a path, and whether a driver holds one.

Owns the looking, in folders and object stores alike; takes and writes nothing. What a study's
records say is `search.records.reader`'s.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from objectives.words import guess
from search.common.errors import StudyError
from search.records import lease, lock, remote
from search.records.bucket import Bucket
from search.records.reader import RecordsReader, nearest_study
from search.records.study_path import StudyPath, locate


def studies(path: StudyPath) -> Sequence[StudyPath]:
    """The studies directly in a folder or under an address, by name.

    Raises:
        StudyError: it cannot be read.
    """
    try:
        if isinstance(path, Path):  # os.path: a folder that may not be looked into has no study
            return sorted(c for c in path.iterdir() if os.path.isfile(c / "study.yaml"))
        bucket = Bucket(path, remote.OPENING_SECONDS)
        return [path / n for n in bucket.folders() if bucket.get(f"{n}/study.yaml") is not None]
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror or error}") from None


def is_held(path: StudyPath) -> bool:
    """Whether a driver holds a study.

    Raises:
        StudyError: the store is away.
    """
    if isinstance(path, Path):
        return lock.is_held(path)
    try:
        return lease.is_held(Bucket(path, remote.OPENING_SECONDS))
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error}") from None


def named(text: str, out: str = "runs") -> StudyPath:
    """The study that a user means.

    Args:
        text: a study, or a folder or address of studies, of which it is the newest; empty for the
            newest of `out`.
        out: where studies are.

    Raises:
        ConfigError: it is no address.
        StudyError: no study is there, or it cannot be read.
    """
    path = locate(text or out)
    if RecordsReader.exists(path):
        return path
    if isinstance(path, Path) and not path.exists():
        listed = "python -m search.studies lists studies"
        begin = "begin a study with python -m search.run --lang CODE"
        raise StudyError(
            f"{path}: no such folder{guess(nearest_study(path, out))}; {listed if text else begin}"
        )
    found = studies(path)
    if not found:
        raise StudyError(f"{path} holds no study; name one, a folder or s3://...")
    return max(found, key=lambda one: (_changed(one), one.name))


def _changed(path: StudyPath) -> float:
    """When the last trial of a study ended; where none has, when its head was written."""
    if not isinstance(path, Path):
        try:
            trials = RecordsReader.read(path).trials
        except StudyError:  # broken, which it says when it is named
            return 0.0
        return trials[-1].ended if trials else 0.0
    times = [f.stat().st_mtime for n in ("trials.jsonl", "study.yaml") if (f := path / n).exists()]
    return max(times, default=0.0)
