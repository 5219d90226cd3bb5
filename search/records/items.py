"""Per-item answers of a trial as bytes: gzipped JSON lines.

Owns their packing. Where the bytes are kept is `search.records.store`'s.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

from objectives.types import ItemResult, Message, Step


def pack_items(results: Iterable[ItemResult]) -> bytes:
    """Per-item results as gzipped JSON lines, the same bytes for the same results.

    A trace becomes three columns (texts, entropies to 1e-4 nat, nucleus sizes), less than half the
    size of one mapping for each token.
    """
    lines = [json.dumps(_pack(result), ensure_ascii=False) for result in results]
    return gzip.compress("\n".join(lines).encode(), compresslevel=6, mtime=0)


def unpack_items(data: bytes) -> list[ItemResult]:
    """The inverse of `pack_items`.

    Raises:
        OSError, EOFError, zlib.error: the bytes are not gzipped, or cut off.
        ValueError, KeyError, TypeError: a line is not an item.
    """
    return [_unpack(json.loads(line)) for line in gzip.decompress(data).splitlines()]


def _pack(result: ItemResult) -> dict[str, Any]:
    row = {f.name: getattr(result, f.name) for f in fields(result) if f.name != "steps"}
    if not isinstance(result.prompt, str):
        row["prompt"] = [asdict(message) for message in result.prompt]
    if result.steps:
        row["steps"] = {
            "text": [step.text for step in result.steps],
            "entropy": [round(step.entropy, 4) for step in result.steps],
            "nucleus": [step.nucleus for step in result.steps],
        }
    return row


def _unpack(row: dict[str, Any]) -> ItemResult:
    """The inverse of `_pack`."""
    if not isinstance(row["prompt"], str):
        row["prompt"] = tuple(Message(**message) for message in row["prompt"])
    columns = row.pop("steps", {})
    return ItemResult(**row, steps=tuple(map(Step, *columns.values())) if columns else ())
