"""Per-item answers of a trial as bytes: gzipped JSON lines.

Owns their packing. Where the bytes are kept is `search.records.store`'s.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

from pydantic import TypeAdapter

from objectives.types import ItemResult
from search.common.values import all_escaped, escaped_json

SMALL, RATIO = 2**25, 100
"""Bytes that are always unpacked; of more, that many times the packed ones. Texts of people and
models pack to a third or a tenth; gzip can stand for a thousand times as much."""
_NAMES = {field.name for field in fields(ItemResult)}


def pack_items(results: Iterable[ItemResult]) -> bytes:
    """Per-item results as gzipped JSON lines, the same bytes for the same results.

    A trace becomes three columns (texts, entropies to 1e-4 nat, nucleus sizes), less than half the
    size of one mapping for each token. Half a surrogate pair is kept as its escape, as text.
    """
    data = "\n".join(escaped_json(_pack(result)) for result in results).encode()
    packed = gzip.compress(data, compresslevel=6, mtime=0)
    return packed if len(data) <= _most(packed) else gzip.compress(data, compresslevel=0, mtime=0)


def unpack_items(data: bytes) -> list[ItemResult]:
    """The inverse of `pack_items`.

    Raises:
        OSError, EOFError, zlib.error: the bytes are not gzipped, or cut off.
        ValueError, RecursionError: a line is not an item, or they are far more than is packed.
    """
    lines = _unzipped(data).splitlines()
    rows = [_unpack(all_escaped(json.loads(a)) if b"\\u" in a else json.loads(a)) for a in lines]
    return _items().validate_python(rows)


def _unzipped(data: bytes) -> bytes:
    with gzip.open(io.BytesIO(data)) as opened:
        found = opened.read(_most(data) + 1)
    if len(found) > _most(data):
        raise ValueError(f"unpacked, it is more than {_most(data) >> 20} MiB, which we never write")
    return found


def _most(packed: bytes) -> int:
    """Bytes that packed ones may stand for: what is written holds to it, what is read must."""
    return max(SMALL, RATIO * len(packed))


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


def _unpack(row: Any) -> Any:
    """The inverse of `_pack`, as plain values."""
    if isinstance(row, dict) and (more := row.keys() - _NAMES):
        raise ValueError(f"an item has no field {', '.join(sorted(more))}")
    steps = row.get("steps") if isinstance(row, dict) else None
    if not isinstance(steps, dict) or not all(isinstance(one, list) for one in steps.values()):
        return row
    made = [dict(zip(steps, one, strict=True)) for one in zip(*steps.values(), strict=True)]
    return row | {"steps": made}


@functools.cache
def _items() -> TypeAdapter[list[ItemResult]]:
    return TypeAdapter(list[ItemResult])
