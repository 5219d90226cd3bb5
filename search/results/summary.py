"""What a study comes to, in a few values: for MLflow's parent run, and for lists of studies.

Owns which files and scores those are. Pure but for reading records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from objectives import targets
from search.records.reader import RecordsReader
from search.records.record import Record
from search.results.choose import Choice
from search.results.recommendation import no_recommendation

ARTIFACTS = (
    *("report.html", "report.md", "report.tsv"),
    *("pareto.png", "landscape.png", "study.yaml"),
)
"""Files of a study's folder that its parent run shows, where they exist."""
NONE = "none"
"""The tag `recommended` of a study that recommends nothing: an earlier tag is written over."""


def headline(records: RecordsReader, choice: Choice | None) -> Mapping[str, float]:
    """The best swap's held-out scores, in percent, for the parent run.

    Also where it is no recommendation, as the run's tags say: MLflow can't take a metric back.
    """
    record = records.ended("held_out").get(choice.record.key) if choice else None
    if record is None:
        return {}
    names = (*(target.score for target in targets.TARGETS), "in_language")
    found = {name: record.value(name) for name in names}
    return {f"held_out_{n}": 100 * value for n, value in found.items() if value is not None}


def recommended(choice: Choice | None, records: Iterable[Record] = ()) -> Mapping[str, str]:
    """The recommended recipe and why, or why there is none, as tags of the parent run."""
    if choice is None or choice.doubt:
        return {"recommended": NONE, "reason": no_recommendation(choice, records)}
    return {"recommended": choice.record.label, "reason": choice.reason}


def values(record: Record | None) -> tuple[float | None, ...]:
    """A trial's targets in their order, as shares; None where not defined."""
    return tuple(record.value(t.score) if record else None for t in targets.TARGETS)
