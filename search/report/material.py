"""What the report's parts are made from: a study, judged once, as it was at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from objectives import targets
from objectives.target import Target
from objectives.types import Score
from search.common.values import percent
from search.merging.recipe import Layered, key
from search.records.head import StudyHead
from search.records.reader import RecordsReader
from search.records.record import Record
from search.results.best import Best, of_records
from search.results.choose import is_swap
from search.results.comparison import Report
from search.results.figures import kind_of
from search.results.study_result import StudyResult

RIVAL = "rival method"
"""What a merge of a rival method is shown as."""
NOTHING = Score(None, None, None, 0, 0)


@dataclass(frozen=True)
class Material:
    """A study, judged.

    Attributes:
        records: the study; nothing is added to it any more.
        head: its head.
        final: what it comes to.
        report: its final table.
        best: its best recipe.
    """

    records: RecordsReader
    head: StudyHead
    final: StudyResult
    report: Report
    best: Best

    @classmethod
    def of(cls, records: RecordsReader, *, running: bool) -> Material:
        """Judge a study.

        Args:
            records: the study.
            running: whether a driver holds it.

        Raises:
            StudyError: it has not begun.
            ConfigError: its configuration cannot be used.
        """
        now = records.snapshot()
        final = StudyResult.of(now)
        report = final.compare(now)
        return cls(now, now.head(), final, report, of_records(now, final, report, running=running))

    @property
    def targets(self) -> Sequence[Target]:
        """The scores that are optimised, in their order."""
        return targets.TARGETS

    @property
    def n_layers(self) -> int:
        """The model's number of layers L."""
        return self.final.n_layers

    @cached_property
    def search(self) -> Sequence[Record]:
        """The trials on search items, the last of each recipe, in the order of their ends."""
        return list(self.records.ended("search").values())

    @cached_property
    def swaps(self) -> Sequence[Record]:
        """The layer swaps that were scored on all search items."""
        return [
            r
            for r in self.search
            if r.state == "scored"
            and is_swap(r.recipe, self.n_layers)
            and r.value(self.targets[0].score) is not None
        ]

    @cached_property
    def kinds(self) -> Mapping[str, str]:
        """Key of a trial on search items -> what it is shown as."""
        chosen = "" if self.best.no_recommendation else self.best.key
        default = key(self.final.default, self.n_layers)
        found = {r.key: kind_of(r, chosen, default, self.n_layers) for r in self.search}
        others = {r.key for r in self.search if not isinstance(r.recipe, Layered)}
        return {k: RIVAL if kind == "swap" and k in others else kind for k, kind in found.items()}

    def roles(self, record: Record) -> str:
        """What the final table calls a recipe, or what it is."""
        line = next((x for x in self.report.lines if x.record.key == record.key), None)
        return line.role if line else self.kinds.get(record.key, "")


def shown(score: Score | None) -> str:
    """A score in percent with its interval and items, such as `87.2% (83.6–90.2, 400 items)`."""
    if score is None or score.value is None:
        return "–"
    if score.low is None or score.high is None:
        return f"{percent(score.value)}%"
    ends = f"{percent(score.low)}–{percent(score.high)}"
    return f"{percent(score.value)}% ({ends}, {score.n_scored} items)"
