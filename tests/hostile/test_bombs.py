"""A few bytes that stand for many."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from tests.hostile.limits import limited
from tests.search.records.samples import ITEM

ITEMS = """
import sys
from pathlib import Path
from search.records.items import unpack_items
try:
    unpack_items(Path(sys.argv[1]).read_bytes())
except ValueError as error:
    print(error)
"""
CARD = """
import sys
from pathlib import Path
from search.export.model_card import licence_of
for folder in sys.argv[1:]:
    print(len(licence_of(Path(folder))))
"""


def test_items_that_unpack_to_much_more(tmp_path: Path) -> None:
    row = {"objective": ITEM.objective, "id": ITEM.id, "prompt": "x" * 2**21}
    data = gzip.compress(b"\n".join([json.dumps(row).encode()] * 100))
    (tmp_path / "items.gz").write_bytes(data)
    assert len(data) < 2**18
    run = limited("-c", ITEMS, str(tmp_path / "items.gz"))
    assert run.stdout == "unpacked, it is more than 32 MiB, which we never write\n", run.stderr


def test_cards_that_double_with_every_line(tmp_path: Path) -> None:
    lists = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    maps = [f"b{i}: &b{i} {{<<: [{', '.join([f'*b{i - 1}'] * 9)}]}}" for i in range(1, 9)]
    heads = {
        "lists": ["a0: &a0 [x, x]", *lists, "license: *a8"],
        "maps": ["b0: &b0 {x: y}", *maps, "license: *b8"],
        "name": ["a0: &a0 [x, x]", *lists, "license: mit", "license_name: *a8"],
        "deep": ["license: " + "[" * 10_000],
        "long": ["license: " + "x" * 10_000_000],
        "itself": ["license: &a [*a]"],
    }
    for name, lines in heads.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text("\n".join(["---", *lines, "---", ""]))
    run = limited("-c", CARD, *(str(tmp_path / name) for name in heads))
    assert run.returncode == 0, run.stderr[-2000:]
    assert max(map(int, run.stdout.split())) <= 300 and len(run.stdout.split()) == len(heads)
