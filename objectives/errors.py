"""The errors of this package, for the person at the keyboard.

    ObjectiveError
    |-- DataError         a data file is missing, empty, malformed or too small
    |-- LanguageError     a language code that the table does not have
    |-- SettingError      a value given to an objective is out of range
    `-- DependencyError   a package needed for this language or data is not installed

All of them are raised while an objective is built, before any generation, but for a DataError of
answers on record. Each carries one finished
sentence as its only argument, so that it survives pickling between processes.
"""

from __future__ import annotations

from pathlib import Path

from objectives.letters import visible


class ObjectiveError(Exception):
    """Root of everything this package raises on purpose."""

    def __init__(self, message: str) -> None:
        """Take the sentence, which may quote what a file holds."""
        super().__init__(visible(message))


class DataError(ObjectiveError):
    """A data file is missing, empty, malformed or too small for what is asked of it."""

    @classmethod
    def at(cls, path: Path | str, problem: str, remedy: str, line: int | None = None) -> DataError:
        """Build the error for a place in a file.

        Args:
            path: the file; or a part of a data set, as text.
            problem: what is wrong, with the value found.
            remedy: what the user can do about it.
            line: line number, counted from 1; None when the whole file is meant.
        """
        place = f"{path}" if line is None else f"{path}, line {line}"
        return cls(f"{place}: {problem}. {remedy}")


class LanguageError(ObjectiveError):
    """A language code that the table of languages does not have."""


class SettingError(ObjectiveError):
    """A value given to an objective is out of its range."""


class DependencyError(ObjectiveError):
    """A package needed for this language or data is not installed."""
