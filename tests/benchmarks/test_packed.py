"""The packed form of a landscape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.landscape import packed
from search.merging.recipe import LayerSwap, key, to_dict


def line(b: int, right: str, **more: Any) -> dict[str, Any]:
    recipe = LayerSwap(0, 0, b, 1, 0, 0)
    found: dict[str, Any] = {"key": key(recipe, 10), "recipe": to_dict(recipe), "seconds": 1.5}
    for split, bits in (("search", right), ("held_out", right[::-1])):
        found[f"mgsm.{split}.tokens"] = [7] * len(bits)
        found[f"mgsm.{split}.correct"] = bits
        found[f"mgsm.{split}.in_language"] = "1" * len(bits)
    return found | more


def test_what_is_written_is_read(tmp_path: Path) -> None:
    found = packed.from_lines("te", [line(2, "1100101101"), line(1, "0000000001")])
    packed.write(found, tmp_path / "a.npz")
    again = packed.read(tmp_path / "a.npz")
    assert again.lang == "te" and again.keys == found.keys == tuple(sorted(found.keys))
    assert again.recipes == found.recipes
    for name, bits in found.verdicts.items():
        assert (again.verdicts[name] == bits).all()
    assert (again.tokens["mgsm.search"] == 7).all() and again.tokens["mgsm.search"].shape == (2, 10)
    row = again.keys.index(line(2, "")["key"])
    assert again.accuracy("search")[row] == pytest.approx(0.6)
    assert again.right("held_out")[row].tolist() == [c == "1" for c in "1011010011"]


def test_the_same_landscape_is_the_same_bytes(tmp_path: Path) -> None:
    lines = [line(2, "1100"), line(1, "0001")]
    for name, some in (("a", lines), ("b", lines[::-1])):
        packed.write(packed.from_lines("te", some), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_it_is_read_with_numpy_alone(tmp_path: Path) -> None:
    packed.write(packed.from_lines("te", [line(2, "110010110")]), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        bits = np.unpackbits(
            arrays["mgsm.search.correct.bits"],
            axis=1,
            count=int(arrays["mgsm.search.correct.items"]),
        )
    assert bits.tolist() == [[1, 1, 0, 0, 1, 0, 1, 1, 0]]


def test_half_a_line_and_infeasible_recipes_are_left_out(tmp_path: Path) -> None:
    text = [json.dumps(line(1, "10")), json.dumps(line(2, "11", infeasible="NaN")), '{"key": "a']
    (tmp_path / "te-0.jsonl").write_text("\n".join(text))
    found = packed.from_lines("te", packed.lines(tmp_path))
    assert found.keys == (line(1, "")["key"],)


def test_joined_are_both_and_the_first_counts(tmp_path: Path) -> None:
    one = packed.from_lines("te", [line(1, "1111"), line(3, "0000")])
    other = packed.from_lines("te", [line(3, "1111"), line(2, "1010")])
    both = packed.joined(one, other)
    assert both.keys == tuple(sorted(line(b, "")["key"] for b in (1, 2, 3)))
    shares = dict(zip(both.keys, both.accuracy("search"), strict=True))
    assert [shares[line(b, "")["key"]] for b in (1, 2, 3)] == [1.0, 0.5, 0.0]
    assert [r["b"] for r in both.recipes] == [
        {line(b, "")["key"]: b for b in (1, 2, 3)}[name] for name in both.keys
    ]


@pytest.mark.parametrize(("lang", "design"), [("te", "whole"), ("sw", "whole"), ("te", "wider")])
def test_the_shipped_ones_are_what_their_sums_say(lang: str, design: str) -> None:
    import hashlib

    sums = dict(
        reversed(row.split("  "))
        for row in (packed.FOLDER / "SHA256SUMS").read_text("utf-8").splitlines()
    )
    name = f"{lang}.npz" if design == "whole" else f"{lang}_{design}.npz"
    data = (packed.FOLDER / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == sums[name]
    found = packed.shipped(lang, design)
    assert found.right("search").shape[1] == 200 and found.right("held_out").shape[1] == 400
