"""docs/map.md: what each room and file is, from their docstrings.

    python -m tests.map_page     # or: make docs

Owns the part of the page below `MARK`; what stands above it is written by hand.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.defined import ROOT, tree
from tests.test_architecture import GROUND, ROOMS

PAGE = ROOT / "docs" / "map.md"
MARK = "<!-- What follows is made by `make docs` from the docstrings of the files. -->"


def markdown() -> str:
    """The part of the page that is made."""
    parts = [MARK, *_table("Commands of one file", "", sorted(_doors()))]
    for room in (r for r in ROOMS if (ROOT / "search" / r).is_dir()):
        parts += _room(f"search/{room}")
    parts += _table("Ground floor", "What every room stands on.", sorted(_ground()))
    for folder in ("objectives", "demo", "benchmarks"):
        parts += _room(folder)
    return "\n".join(parts) + "\n"


def page() -> str:
    """The whole page, its upper part as it is."""
    head, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    assert mark, f"{PAGE} has no line {MARK}"
    return head + markdown()


def _room(folder: str) -> Iterator[str]:
    """A folder's own docstring, its files, then the folders in it."""
    here = ROOT / folder
    about = " ".join((ast.get_docstring(tree(here / "__init__.py")) or "").split())
    files = [f for f in sorted(here.glob("*.py")) if f.name != "__init__.py"]
    yield from _table(f"{folder}/", about, files)
    for inner in sorted(here.iterdir()):
        if (inner / "__init__.py").is_file():
            yield from _room(f"{folder}/{inner.name}")


def _table(title: str, about: str, files: list[Path]) -> Iterator[str]:
    yield f"\n## {title}\n"
    if about:
        yield f"{about}\n"
    yield from ("| file | what it is |", "| --- | --- |")
    for file in files:
        first = (ast.get_docstring(tree(file)) or "").split("\n\n")[0]
        yield f"| `{_short(file, title)}` | {' '.join(first.split()).replace('|', chr(92) + '|')} |"


def _short(file: Path, title: str) -> str:
    return file.name if title.endswith("/") else str(file.relative_to(ROOT))


def _doors() -> Iterator[Path]:
    doors = [room for room in ROOMS if room not in GROUND]
    yield from (f for f in (ROOT / "search" / f"{room}.py" for room in doors) if f.is_file())
    yield ROOT / "objectives" / "score.py"


def _ground() -> Iterator[Path]:
    yield from (ROOT / "search" / f"{name}.py" for name in GROUND)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
