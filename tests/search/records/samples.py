"""A head, an item and records, for tests of where they are kept."""

from __future__ import annotations

from objectives.types import ItemResult, Score
from search.merging.recipe import LayerSwap
from search.records.head import StudyHead
from search.records.record import Record

HEAD = StudyHead("s", {"lang": "te", "search": {"trials": 3}})
SCORE = Score(0.5, 0.4, 0.6, 10, 12)
ITEM = ItemResult("mgsm", "mgsm_te:1", "ప్రశ్న", "a\u2028b\nc", 3, "stop", {"correct": True})


def record(key: str = "k", **fields: object) -> Record:
    given: dict[str, object] = dict(
        number=0, key=key, split="search", state="scored", origin="search", label=f"te {key}"
    )
    given |= {"recipe": LayerSwap(0, 1, 1, 1, 0, 0), "scores": {"accuracy": SCORE}}
    return Record(**(given | fields))  # type: ignore[arg-type]
