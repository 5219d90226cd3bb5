"""A driver to be killed: appends records to a study for ever and prints each key when it is there.

python -m tests.search.appender STUDY [BYTES of each record's reason]
"""

from __future__ import annotations

import sys
import uuid

from objectives.types import ItemResult
from search.merging.recipe import LayerSwap
from search.records.items import pack_items
from search.records.record import Record
from search.records.study_path import locate
from search.records.writer import RecordsWriter

ITEM = ItemResult("mgsm", "mgsm_te:1", "ప్రశ్న", "a\u2028b\nc", 3, "stop", {"correct": True})


def main() -> None:
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    records = RecordsWriter.open(locate(sys.argv[1]))
    while True:
        key = uuid.uuid4().hex[:12]
        records.append(
            Record(
                number=0,
                key=key,
                split="search",
                state="failed",
                origin="search",
                label=key,
                recipe=LayerSwap(0, 1, 1, 1, 0, 0),
                reason="ప్ర" * (size // 9),
            ),
            pack_items([ITEM]),
        )
        print(key, flush=True)


if __name__ == "__main__":
    main()
