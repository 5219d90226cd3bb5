"""Files of completions that were made anywhere, for `objectives.score`.

Owns their two formats and what makes a row malformed. Knows no score.

    LCB    CSV, columns model, completion, task, source, language (and id, which is not read):
           the format of outputs/*.csv in for-ai/language-confusion
    MGSM   JSON lines, fields language, question, target, completion
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from objectives.errors import DataError, LanguageError
from objectives.languages import language
from objectives.numerals import as_number
from objectives.rows import csv_rows, json_rows, shown

TASKS = ("crosslingual", "monolingual")
_LCB_COLUMNS = ("model", "completion", "task", "source", "language")
_MGSM_FIELDS = ("language", "question", "target", "completion")


@dataclass(frozen=True)
class LcbCompletion:
    """One response to a prompt of the Language Confusion Benchmark; empty if the model was mute."""

    task: str
    model: str
    source: str
    language: str
    completion: str


@dataclass(frozen=True)
class MgsmCompletion:
    """One answer to a question of MGSM.

    Attributes:
        place: file and line it comes from, as "answers.jsonl, line 3".
        language: code of the language asked in.
        question: the question.
        target: the right number.
        completion: what the model wrote.
    """

    place: str
    language: str
    question: str
    target: Decimal
    completion: str


def read_lcb_completions(path: Path) -> Iterator[LcbCompletion]:
    """Yield the responses of a CSV file; "-" is standard input.

    Raises:
        DataError: the file cannot be read or has no row, or a row is malformed: a field is missing
            or empty (only a completion may be), the task is neither of the benchmark's, or the
            table of languages lacks the language.
    """
    line = 0
    for line, row in csv_rows(path, _LCB_COLUMNS):
        for name in ("model", "source"):
            if not row[name].strip():
                raise DataError.at(shown(path), f"no {name}", f"Fill in the {name}", line)
        if row["task"] not in TASKS:
            problem = f"task {row['task']!r}"
            raise DataError.at(shown(path), problem, f"It is {' or '.join(TASKS)}", line)
        _check_language(path, line, row["language"], mgsm=False)
        yield LcbCompletion(**{name: row[name] for name in _LCB_COLUMNS})
    if line == 0:
        raise DataError.at(shown(path), "no rows under the header", "Put one response a row there")


def read_mgsm_completions(path: Path) -> Iterator[MgsmCompletion]:
    """Yield the answers of a file of JSON lines; "-" is standard input.

    Raises:
        DataError: the file cannot be read, or a line is malformed: no JSON object, a field is
            missing or not text, MGSM lacks the language, or the target is not one number.
    """
    for line, row in json_rows(path, _MGSM_FIELDS):
        for name in ("language", "question", "completion"):
            if not isinstance(row[name], str):
                problem = f"{name} is {row[name]!r}"
                raise DataError.at(shown(path), problem, "Write it as text", line)
        _check_language(path, line, row["language"], mgsm=True)
        yield MgsmCompletion(
            place=f"{shown(path)}, line {line}",
            language=row["language"],
            question=row["question"],
            target=_target(path, line, row["target"]),
            completion=row["completion"],
        )


def _target(path: Path, line: int, target: Any) -> Decimal:
    written = str(target) if isinstance(target, str | int | float) else ""
    number = None if isinstance(target, bool) else as_number(written)
    if number is None:
        problem = f"the target {target!r} is not one number"
        raise DataError.at(shown(path), problem, 'Write 18 or "2,125"', line)
    return number


def _check_language(path: Path, line: int, code: str, *, mgsm: bool) -> None:
    try:
        found = language(code)
        if mgsm:
            _ = found.mgsm_words
    except LanguageError as error:
        raise DataError.at(shown(path), str(error), "Correct the row", line) from error
