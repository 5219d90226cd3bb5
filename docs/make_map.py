"""docs/map.md from the docstrings: what each room and each of its files is.

    python docs/make_map.py > docs/map.md     # or: make docs

Owns the page's words and the order of the rooms on it. What a file is, its docstring says.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAD = """\
# Map

Made by `make docs` from the docstrings; a test holds the two together. A room of `search/` imports only rooms
below it on this page (`tests/test_architecture.py`); its first lines say what it owns and what it does not
know. A command is a file, or a folder with a `__main__.py`. `tests/` mirrors the folders.

| where is ... | |
| --- | --- |
| Algorithm 1 of layer swapping | `share_of` in `search/merging/methods/swap.py` |
| what a merge method does to a tensor | `search/merging/methods/`, driven by `search/merging/arithmetic.py` |
| the LCPR formula | `harmonic_mean` in `objectives/rates.py` |
| what is optimised | `objectives/targets.py` |
| the rewrite of weights in place | `MaterialiseExtension.swap_write` in `search/engine/worker.py`: by `DirectWriter.write` in `search/engine/writer.py`, on a GPU `DeviceWriter.write` in \
`search/engine/device_writer.py`, or vLLM's own reload by `_swap_reload` |
| the loop that asks Optuna | `Order._propose` in `search/study/order.py`, through `Phase._ask` in \
`search/study/proposing/phase.py`; Ray Tune's controller asks for each trial, by `search/study/tuning/searcher.py` |
| where a record is fsynced | `append_line` in `search/records/durable.py`, by `search/records/folder.py`; in an object store `BucketStore.append` in `search/records/remote.py` |
| where MLflow is written | `StudyView.send` in `search/study/tracking/view.py`, when `search/study/tracking/outbox.py` says |
| what chooses the recommended recipe | `best_swap` in `search/results/choose.py` |
| whether anything is recommended | `recommend` in `search/results/recommendation.py` |
| what happens when an engine dies | `judge` in `search/study/fate.py`; one that raises, `TrialRunner._run` in \
`search/study/tuning/trainable.py` (on a GPU its process ends, `MergeTrial.step`); one that hangs, `Watch.on_step_begin` in `search/study/tuning/watch.py` |
| every key of the configuration | `search/config/schema.py`, `docs/config.md` |

How a trial goes through all this is on one page: [life_of_a_trial.md](life_of_a_trial.md).
"""  # noqa: E501
SEARCH = (
    *("run", "best", "report", "export", "inspect", "check", "studies", "sync", "ui"),
    *("study/tracking", "results", "study/tuning", "study/proposing", "study"),
    *("engine", "records", "config", "merging/space", "checkpoints", "merging", "common"),
)
OTHERS = ("objectives", "demo", "benchmarks")


def docstring(file: Path) -> list[str]:
    """Paragraphs of a module's docstring, each on one line."""
    text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return [" ".join(part.split()) for part in text.split("\n\n")]


def rows(folder: Path) -> Iterator[str]:
    """A table row for each module below a folder."""
    yield "| file | |"
    yield "| --- | --- |"
    inner = {ROOT / "search" / name for name in SEARCH} - {folder}  # with own sections
    for file in sorted(folder.rglob("*.py"), key=lambda f: (f.parent, f.name)):
        if file.name != "__init__.py" and file.parent not in inner:
            yield f"| `{file.relative_to(ROOT)}` | {docstring(file)[0].replace('|', '-')} |"


def section(folder: Path) -> Iterator[str]:
    """A room: what it owns, then its files."""
    about = docstring(folder / "__init__.py")
    yield f"\n## {folder.relative_to(ROOT)}/\n"
    yield " ".join(about) + "\n"
    yield from rows(folder)


def page() -> str:
    """The page docs/map.md."""
    lines = [HEAD]
    singles = []
    for name in SEARCH:
        if (ROOT / "search" / name).is_dir():
            lines += section(ROOT / "search" / name)
        else:
            file = ROOT / "search" / f"{name}.py"
            singles.append(f"| `{file.relative_to(ROOT)}` | {docstring(file)[0]} |")
    lines += [
        "\n## Files of search/ itself\n",
        "One-file commands.\n",
    ]
    lines += ["| file | |", "| --- | --- |", *singles]
    for name in OTHERS:
        lines += section(ROOT / name)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
