"""The Language Confusion Benchmark's table: by source, by language, and on average.

Owns the rows, their order, how averages are taken and how a cell is written. Knows no text: every
response has been judged already (`confusion`).

As in the benchmark's script (for-ai/language-confusion, compute_metrics.py at 6cb0fe2), for each
model and task:

1. a row for each source and language, in sorted order;
2. (source, all): the mean over the source's languages;
3. (all, language): the mean over the language's sources, languages as they first came in 1;
4. (all, all): the mean over the languages of 3.

WPR means are over the languages that have a WPR. As published, a row without a scored response has
LPR 100%, and one without a response that passes the line level has WPR 100%: look at coverage.

Not the script's: LCPR = 2 LPR WPR / (LPR + WPR) of the row's own LPR and WPR, equal to LPR where
WPR is not defined; coverage and n, which count the responses of all cells behind a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from objectives.languages import language
from objectives.rates import Outcome, harmonic_mean, pass_rates
from objectives.types import Verdict

ALL = "all"
HEAD = ("task", "model", "source", "language", "lpr", "wpr", "lcpr", "coverage", "n")


@dataclass(frozen=True)
class JudgedResponse:
    """How one response ended, and which cell of the table it belongs to."""

    task: str
    model: str
    source: str
    language: str
    outcome: Outcome


@dataclass(frozen=True)
class TableRow:
    """One row; rates are shares in [0, 1].

    Attributes:
        task: "crosslingual" or "monolingual".
        model: the model's name.
        source: the source of the prompts, or "all".
        language: the language's code, or "all".
        lpr: line-level pass rate.
        wpr: word-level pass rate; None where no language of the row has one.
        n_scored: responses with at least one line that counts.
        n: responses.
    """

    task: str
    model: str
    source: str
    language: str
    lpr: float
    wpr: float | None
    n_scored: int
    n: int

    @property
    def lcpr(self) -> float:
        """Language confusion pass rate of the row; LPR where there is no WPR."""
        return self.lpr if self.wpr is None else float(harmonic_mean(self.lpr, self.wpr))

    @property
    def coverage(self) -> float:
        """Share of the responses that were scored."""
        return self.n_scored / self.n

    def cells(self) -> list[str]:
        """Write the row, in the order of `HEAD`."""
        wpr = "N/A" if self.wpr is None else f"{self.wpr:.2%}"
        rates = [f"{self.lpr:.2%}", wpr, f"{self.lcpr:.2%}", f"{self.coverage:.2%}"]
        return [self.task, self.model, self.source, self.language, *rates, str(self.n)]


def from_verdicts(
    verdicts: Iterable[Verdict], model: str, language_code: str
) -> list[JudgedResponse]:
    """Take responses from the verdicts that `lcpr.LcprObjective` gave on them.

    Args:
        verdicts: `ItemResult.verdict` of one language's items, or the same from the records.
        model: what to call the model.
        language_code: the language asked for.
    """
    found = []
    for verdict in verdicts:
        task, source = str(verdict["source"]).split("/", 1)
        outcome = Outcome[str(verdict["outcome"])]
        found.append(JudgedResponse(task, model, source, language_code, outcome))
    return found


def make_table(responses: Iterable[JudgedResponse]) -> list[TableRow]:
    """Make the table: models in the order of their first response, tasks in sorted order."""
    groups: dict[str, dict[str, dict[tuple[str, str], Counter[Outcome]]]] = {}
    for response in responses:
        cells = groups.setdefault(response.model, {}).setdefault(response.task, {})
        cell = cells.setdefault((response.source, response.language), Counter())
        cell[response.outcome] += 1
    return [
        row
        for model, tasks in groups.items()
        for task, cells in sorted(tasks.items())
        for row in _task_rows(task, model, cells)
    ]


def write_table(rows: Iterable[TableRow]) -> str:
    """Write rows under `HEAD` as tab-separated lines."""
    return "".join("\t".join(cells) + "\n" for cells in [HEAD, *(row.cells() for row in rows)])


def _task_rows(
    task: str, model: str, cells: Mapping[tuple[str, str], Counter[Outcome]]
) -> list[TableRow]:
    single = [_cell(task, model, *key, cells[key]) for key in sorted(cells)]
    by_source = [
        _mean(source, ALL, [row for row in single if row.source == source])
        for source in dict.fromkeys(row.source for row in single)
    ]
    by_language = [
        _mean(ALL, code, [row for row in single if row.language == code])
        for code in dict.fromkeys(row.language for row in single)
    ]
    return [*single, *by_source, *by_language, _mean(ALL, ALL, by_language)]


def _cell(task: str, model: str, source: str, code: str, counts: Counter[Outcome]) -> TableRow:
    applies = language(code).wpr_applies
    rates = pass_rates(np.array([[counts[outcome] for outcome in Outcome]]), applies)
    return TableRow(
        task=task,
        model=model,
        source=source,
        language=code,
        lpr=float(rates.lpr),
        wpr=float(rates.wpr) if applies else None,
        n_scored=counts.total() - counts[Outcome.UNSCORED],
        n=counts.total(),
    )


def _mean(source: str, code: str, rows: Sequence[TableRow]) -> TableRow:
    wprs = [row.wpr for row in rows if row.wpr is not None]
    return TableRow(
        task=rows[0].task,
        model=rows[0].model,
        source=source,
        language=code,
        lpr=sum(row.lpr for row in rows) / len(rows),
        wpr=sum(wprs) / len(wprs) if wprs else None,
        n_scored=sum(row.n_scored for row in rows),
        n=sum(row.n for row in rows),
    )
