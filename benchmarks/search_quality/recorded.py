"""The peers' rows as they were last recorded, in recorded.tsv: what most machines can not run.

Owns the file: comment lines that say in JSON what the rows of a sampler in a language were recorded
with, then the rows. Knows no sampler.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.landscape import packed
from benchmarks.search_quality.rows import HEAD, Row, as_tsv, from_tsv

FILE = Path(__file__).with_name("recorded.tsv")
ABOUT = "# Rows of the peers, last recorded by `make bench-peers`; what with, then the rows."


@dataclass(frozen=True)
class Ground:
    """Which landscape rows were recorded on.

    Attributes:
        sha256: of its file, in hexadecimal digits.
        recipes: recipes in it.
    """

    sha256: str
    recipes: int


@dataclass(frozen=True)
class Recording:
    """Rows of one sampler in one language.

    Attributes:
        lang: language code.
        sampler: its name in the tables.
        seeds: searches that the rows are means of.
        day: when they were recorded, as ISO 8601.
        ground: the landscape they were recorded on.
        packages: name -> version of what was used.
        rows: after so many trials each.
    """

    lang: str
    sampler: str
    seeds: int
    day: str
    ground: Ground
    packages: Mapping[str, str]
    rows: tuple[Row, ...]


def shipped(lang: str) -> Ground:
    """The landscape that is shipped for a language.

    Raises:
        OSError: there is none.
    """
    content = (packed.FOLDER / f"{lang}.npz").read_bytes()
    return Ground(hashlib.sha256(content).hexdigest(), len(packed.shipped(lang).keys))


def read(file: Path = FILE) -> list[Recording]:
    """What a file holds; nothing where there is none.

    Raises:
        ValueError, KeyError, TypeError: it is no such file.
    """
    if not file.exists():
        return []
    heads, rows = [], []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# {"):
            heads.append(json.loads(line.removeprefix("# ")))
        elif not line.startswith("#") and line.split("\t") != HEAD.split():
            rows.append(from_tsv(line))
    return [_recording(head, rows) for head in heads]


def _recording(head: Mapping[str, object], rows: Iterable[Row]) -> Recording:
    own = tuple(row for row in rows if row[:2] == (head["lang"], head["sampler"]))
    ground = Ground(**head["ground"])  # type: ignore[arg-type]
    return Recording(**{**head, "ground": ground, "rows": own})  # type: ignore[arg-type]


def write(recordings: Iterable[Recording], file: Path = FILE) -> None:
    """Write a file; of two recordings of a sampler in a language, the later one of the two."""
    latest = {(one.lang, one.sampler): one for one in recordings}
    kept = [latest[kind] for kind in sorted(latest)]
    heads = [f"# {json.dumps({k: v for k, v in asdict(r).items() if k != 'rows'})}" for r in kept]
    rows = as_tsv([row for recording in kept for row in recording.rows])
    file.write_text("\n".join([ABOUT, *heads, *rows]) + "\n", encoding="utf-8")


def notice(sampler: str, recordings: Sequence[Recording], grounds: Mapping[str, Ground]) -> str:
    """One line that says when and with what a sampler's rows were recorded.

    Args:
        sampler: its name in the tables.
        recordings: what there is.
        grounds: language -> the landscape that is searched now, of every language in the tables.
    """
    own = {r.lang: r for r in recordings if r.sampler == sampler}
    return f"{sampler}: " + "; ".join(
        _said(lang, own.get(lang), now) for lang, now in grounds.items()
    )


def _said(lang: str, recording: Recording | None, now: Ground) -> str:
    if recording is None:
        return f"{lang}: no rows were recorded: make bench-peers"
    packages = ", ".join(f"{name} {version}" for name, version in recording.packages.items())
    said = f"{lang}: rows last recorded {recording.day}, {recording.seeds} seeds, {packages}"
    if recording.ground == now:
        return said
    return (
        f"{said}, on ANOTHER LANDSCAPE of {recording.ground.recipes} recipes"
        f" (now {now.recipes}): make bench-peers"
    )
