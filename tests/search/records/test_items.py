"""Per-item results as bytes and back."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import pytest

from objectives.types import ItemResult, Message, Step
from search.records.items import pack_items, unpack_items
from tests.search.records.samples import ITEM

CHAT = ItemResult(
    "lcpr",
    "okapi:1",
    (Message("user", "ఎన్ని?"), Message("assistant", "సరే")),
    "x\u2028y",
    2,
    "length",
    {"outcome": "PASS", "lines": 3, "ratio": 0.5, "word": None},
    (Step("x", 1.25, 3), Step("\u2028y", 0.0, 1)),
)


def test_packed_items_are_the_same_bytes() -> None:
    assert pack_items([ITEM]) == pack_items([ITEM])


def test_results_come_back() -> None:
    assert unpack_items(pack_items([ITEM, CHAT])) == [ITEM, CHAT]
    assert unpack_items(pack_items([])) == []


def test_half_a_surrogate_pair_is_recorded_as_text() -> None:
    """No file holds one; a path of other bytes than UTF-8 has some, and prompts of broken JSON."""
    broken = replace(ITEM, prompt="a\ud800", completion="\udc80 \\udc80", verdict={"\udfff": "é"})
    (found,) = unpack_items(pack_items([broken]))
    assert (found.prompt, found.completion) == ("a\\ud800", "\\udc80 \\udc80")
    assert found.verdict == {"\\udfff": "é"}


def test_fields_on_disk() -> None:
    """Other programs read them: docs/records.md names these fields."""
    first, second = map(json.loads, gzip.decompress(pack_items([ITEM, CHAT])).splitlines())
    names = "objective id prompt completion n_tokens finish_reason verdict".split()
    assert list(first) == names and list(second) == [*names, "steps"]
    assert second["prompt"][0] == {"role": "user", "content": "ఎన్ని?"}
    assert second["steps"] == {"text": ["x", "\u2028y"], "entropy": [1.25, 0.0], "nucleus": [3, 1]}


@pytest.mark.parametrize(
    "line",
    [b"[]", b"{", b'{"id": "a"}', b'{"prompt": "a", "colour": 1}', b"[" * 100_000, b"9" * 5000],
)
def test_lines_that_are_no_item(line: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        unpack_items(gzip.compress(line))


@pytest.mark.slow
def test_what_is_written_can_be_read_however_well_it_packs() -> None:
    """Of a model that repeats itself; more than gzip may stand for is stored as it is."""
    long = replace(ITEM, completion="ha" * 2**23)
    packed = pack_items([long] * 3)
    assert len(packed) > 2**25 and unpack_items(packed) == [long] * 3
    assert len(pack_items([long])) < 2**20
