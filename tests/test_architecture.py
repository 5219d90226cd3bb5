"""Who may import whom: the fences around the big libraries and the direction of the arrows."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FENCES = {
    "ray": {f"search/tuning/{n}.py" for n in ("tune", "searcher", "trainable", "waiting", "watch")},
    "optuna": {
        f"search/proposing/{name}.py"
        for name in ("optuna_study", "journal", "storage", "phase", "sampler")
    },
    "mlflow": {"search/tracking/view.py"},
    "vllm": {"search/engine/live.py", "search/engine/layout.py"},
}
PURE = {
    f"search/{name}.py"
    for name in (
        "merging/mix",
        "merging/canonical",
        "merging/recipe",
        "merging/plan",
        "merging/methods/common",
        "merging/methods/faults",
        "merging/methods/linear",
        "merging/methods/method",
        "merging/methods/registry",
        "merging/methods/single",
        "merging/methods/slerp",
        "merging/methods/soup",
        "merging/methods/swap",
        "merging/methods/task_arithmetic",
        "export/mergekit_yaml",
        "results/choose",
        "space/swap",
        "space/pairs",
        "space/spellings",
        "space/proposal",
        "space/rivals",
        "study/retries",
        "study/schedule",
    )
}
HEAVY = {"torch", "ray", "optuna", "vllm", "mlflow", "transformers", "matplotlib"}


def imports(file: Path) -> set[str]:
    """Dotted names of all modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


SOURCES = {
    str(file.relative_to(ROOT)): imports(file)
    for package in ("search", "objectives", "demo")
    for file in sorted((ROOT / package).rglob("*.py"))
}


@pytest.mark.parametrize("library", FENCES)
def test_fence(library: str) -> None:
    users = {f for f, names in SOURCES.items() if any(n.split(".")[0] == library for n in names)}
    assert users == FENCES[library]


def test_objectives_know_nothing_of_the_search() -> None:
    for file, names in SOURCES.items():
        if file.startswith("objectives/"):
            assert not {n for n in names if n.split(".")[0] in {"search", "demo"}}, file


@pytest.mark.parametrize("file", sorted(PURE))
def test_pure_files_need_no_library(file: str) -> None:
    assert not {n for n in SOURCES[file] if n.split(".")[0] in HEAVY}


def test_arrows_point_one_way() -> None:
    """No cycle between the files of `search/`."""
    graph = {
        file.removesuffix(".py").replace("/", "."): names
        for file, names in SOURCES.items()
        if file.startswith("search/")
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"cycle: {' -> '.join((*path, module))}"
        if module not in done:
            for other in sorted(graph[module] & graph.keys() - {module}):
                visit(other, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize(
    "command",
    [
        "search.run.__main__",
        "search.check",
        "search.inspect.__main__",
        "search.export.__main__",
        "search.confusion",
        "search.sync",
        "search.studies",
        "objectives.score",
    ],
)
def test_help_loads_no_heavy_library(command: str) -> None:
    code = (
        f"import sys; from {command} import main\n"
        "try: main(['--help'])\n"
        f"except SystemExit: print(sorted(set({sorted(HEAVY)!r}) & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout.splitlines()[-1] == "[]", run.stderr
    assert "example" in run.stdout
