"""The packed form of a landscape: one file for each language, read with numpy alone.

Owns the format, which benchmarks/landscapes/README.md describes. `numpy.load(file)` gives the
arrays by name; nothing in it is pickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from objectives.types import Split
from search.records import durable

FOLDER = Path(__file__).resolve().parents[1] / "landscapes"

Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Landscape:
    """What n recipes answered.

    Attributes:
        lang: language code.
        keys: key of each canonical recipe.
        recipes: each recipe as its JSON.
        verdicts: objective, split and verdict, with dots between -> whether it holds, of shape
            (n, items).
        tokens: objective and split -> tokens generated, of shape (n, items).
        seconds: materialising and generating, of each recipe, on the machine that recorded it.
    """

    lang: str
    keys: tuple[str, ...]
    recipes: tuple[Mapping[str, Any], ...]
    verdicts: Mapping[str, Bits]
    tokens: Mapping[str, NDArray[np.uint16]]
    seconds: NDArray[np.float32]

    def right(self, split: Split) -> Bits:
        """Which math problems were solved, of shape (n, items)."""
        return self.verdicts[f"mgsm.{split}.correct"]

    def accuracy(self, split: Split) -> NDArray[np.float64]:
        """Share of the math problems that were solved, of shape (n,)."""
        return np.asarray(self.right(split).mean(axis=1), dtype=np.float64)

    def items(self, seed: int | None) -> list[int]:
        """Places of the items, search before held-out ones, in an order drawn by a seed if any."""
        order = np.arange(self.right("search").shape[1] + self.right("held_out").shape[1])
        drawn = order if seed is None else np.random.default_rng(seed).permutation(order)
        return [int(place) for place in drawn]

    def with_items(self, search: Sequence[int], held_out: Sequence[int]) -> Landscape:
        """The math problems alone, those at these places in the order of `items(None)`."""
        right = np.concatenate([self.right("search"), self.right("held_out")], axis=1)
        parts = [self.tokens[f"mgsm.{split}"] for split in ("search", "held_out")]
        tokens = np.concatenate(parts, axis=1)
        places: dict[Split, Sequence[int]] = {"search": search, "held_out": held_out}
        return replace(
            self,
            verdicts={f"mgsm.{split}.correct": right[:, own] for split, own in places.items()},
            tokens={f"mgsm.{split}": tokens[:, own] for split, own in places.items()},
        )


def from_lines(lang: str, lines: Iterable[Mapping[str, Any]]) -> Landscape:
    """A recording's lines as a landscape; infeasible recipes are left out."""
    rows = sorted((r for r in lines if "infeasible" not in r), key=lambda row: str(row["key"]))
    rows = list({row["key"]: row for row in rows}.values())
    names = [name for name in rows[0] if name.count(".") == 2 and not name.endswith(".tokens")]
    counted = [name for name in rows[0] if name.endswith(".tokens")]
    return Landscape(
        lang,
        tuple(row["key"] for row in rows),
        tuple(row["recipe"] for row in rows),
        {name: np.array([[c == "1" for c in row[name]] for row in rows]) for name in names},
        {
            name.removesuffix(".tokens"): np.array([row[name] for row in rows], dtype=np.uint16)
            for name in counted
        },
        np.array([row["seconds"] for row in rows], dtype=np.float32),
    )


def write(found: Landscape, file: Path) -> None:
    """Write a landscape; the same one gives the same bytes."""
    arrays: dict[str, NDArray[Any]] = {
        "lang": np.array(found.lang),
        "keys": np.array(found.keys),
        "recipes": np.array([json.dumps(r, separators=(",", ":")) for r in found.recipes]),
        "seconds": found.seconds,
    }
    for name, bits in found.verdicts.items():
        arrays[f"{name}.bits"] = np.packbits(bits, axis=1)
        arrays[f"{name}.items"] = np.array(bits.shape[1])
    arrays |= {f"{name}.tokens": counts for name, counts in found.tokens.items()}
    with file.open("wb") as opened:
        np.savez_compressed(opened, allow_pickle=False, **arrays)  # type: ignore[arg-type]


def read(file: Path) -> Landscape:
    """The inverse of `write`.

    Raises:
        OSError, ValueError, KeyError: it is no landscape.
    """
    with np.load(file, allow_pickle=False) as arrays:
        verdicts = {
            name.removesuffix(".bits"): np.unpackbits(
                arrays[name], axis=1, count=int(arrays[name.replace(".bits", ".items")])
            ).astype(bool)
            for name in arrays.files
            if name.endswith(".bits")
        }
        tokens = {n.removesuffix(".tokens"): arrays[n] for n in arrays.files if ".tokens" in n}
        return Landscape(
            str(arrays["lang"]),
            tuple(map(str, arrays["keys"])),
            tuple(json.loads(str(text)) for text in arrays["recipes"]),
            verdicts,
            tokens,
            arrays["seconds"],
        )


def lines(out: Path) -> Iterator[dict[str, Any]]:
    """What a recording holds so far; a line that a dying process left half is left out."""
    for file in sorted(out.glob("*.jsonl")):
        yield from map(json.loads, durable.read_lines(file, mend=False))


def pack(out: Path, lang: str, design: str = "whole") -> Path:
    """Add a recording to what is shipped of its design for its language; the file."""
    file = _file(lang, design)
    found = from_lines(lang, lines(out))
    if file.exists():
        found = joined(read(file), found)
    write(found, file)
    sums = [f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in _files()]
    (FOLDER / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    return file


def joined(one: Landscape, other: Landscape) -> Landscape:
    """Both, where each recipe that both have is the first's."""
    new = [i for i, name in enumerate(other.keys) if name not in set(one.keys)]
    keys = (*one.keys, *(other.keys[i] for i in new))
    order = sorted(range(len(keys)), key=keys.__getitem__)

    def rows(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([a, b[new]])[order]

    return Landscape(
        one.lang,
        tuple(keys[i] for i in order),
        tuple((*one.recipes, *(other.recipes[i] for i in new))[i] for i in order),
        {name: rows(bits, other.verdicts[name]) for name, bits in one.verdicts.items()},
        {name: rows(counts, other.tokens[name]) for name, counts in one.tokens.items()},
        rows(one.seconds, other.seconds),
    )


def _files() -> list[Path]:
    return sorted(FOLDER.glob("*.npz"))


def _file(lang: str, design: str) -> Path:
    return FOLDER / (f"{lang}.npz" if design == "whole" else f"{lang}_{design}.npz")


def shipped(lang: str, design: str = "whole") -> Landscape:
    """The landscape that is shipped of a design for a language."""
    return read(_file(lang, design))
