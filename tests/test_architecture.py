"""The house: which rooms there are and in which order, the fence of each library, the wheel.

`ROOMS` and `FENCES` are the truth. ruff's banned imports say the same sooner, but by folder: here
each library has its files.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    *("run", "best", "report", "export", "inspect", "check", "studies", "sync", "ui"),
    *("study.tracking", "results", "study.tuning"),
    "study.proposing",
    *("study", "engine", "records", "config"),
    *("merging.space", "checkpoints"),
    "merging",
    "common",
    "objectives",
)
"""From the top down: each may import what comes after it, and nothing before it. A room within a
room is one of its own: `study` is pure, its three sides (Ray's, Optuna's, MLflow's) are not."""

FENCES = {
    "ray": {
        f"search/study/tuning/{n}.py"
        for n in ("engines", "searcher", "trainable", "waiting", "watch")
    },
    "optuna": {
        f"search/study/proposing/{name}.py"
        for name in (
            *("optuna_study", "journal", "storage", "phase", "sampler", "model"),
            *("importance", "notes"),
        )
    },
    "mlflow": {"search/study/tracking/store.py"},
    "vllm": {"search/engine/live.py", "search/engine/layout.py"},
    "triton": {"search/engine/triton_average.py"},
    "numba": {"search/merging/methods/ties_kernel.py"},
    "torch": {
        "search/checkpoints/checkpoint.py",
        *(f"search/checkpoints/sources/{name}.py" for name in ("cast", "lora", "pickled")),
        *(f"search/engine/{name}.py" for name in ("experts", "layout", "live", "worker", "writer")),
        *(f"search/engine/{n}.py" for n in ("device_writer", "link", "pieces", "pinned")),
        *(f"search/engine/{n}.py" for n in ("average", "staging", "triton_average", "views")),
        *(f"search/merging/{name}.py" for name in ("arithmetic", "blocks")),
        *(f"search/merging/methods/{name}.py" for name in ("dare_linear", "slerp", "ties")),
        "search/merging/methods/ties_kernel.py",
        "search/export/writer.py",
        "search/inspect/expert_vectors.py",
    },
    "transformers": {
        *(f"search/checkpoints/{name}.py" for name in ("architectures", "meaning", "tokenizer")),
        "search/run/chat.py",
    },
    "tokenizers": {"search/checkpoints/tokenizer.py", "search/run/prompt_lengths.py"},
    "sentencepiece": {"search/checkpoints/tokenizer.py"},
    "safetensors": {
        f"search/checkpoints/{name}.py" for name in ("cache", "checkpoint", "sources/lora")
    },
    "huggingface_hub": {
        *("search/checkpoints/sources/hub.py", "search/export/push.py"),
        "objectives/lm_eval_trust.py",
    },
    "datasets": {"objectives/datasets.py", "objectives/lm_eval_trust.py"},
    "lm_eval": {"objectives/lm_eval_tasks.py", "objectives/lm_eval_trust.py"},
    "fasttext": {"objectives/langid.py"},
    "fsspec": {"search/checkpoints/sources/url.py", "search/records/bucket.py"},
    "filelock": {
        "search/checkpoints/cache.py",
        "search/checkpoints/sources/node_files.py",
        *(f"search/engine/{name}.py" for name in ("live", "pinned")),
        "search/export/writer.py",
        "search/records/lock.py",
    },
    "omegaconf": {"search/config/compose.py"},
    "pydantic": {
        *(
            f"search/config/{name}.py"
            for name in ("compose", "explain", "fields", "schema", "secrets", "space")
        ),
        *(f"search/records/{name}.py" for name in ("head", "items")),
        *("search/common/values.py", "search/checkpoints/sources/adapter_config.py"),
        "objectives/own.py",
        *(f"objectives/{name}.py" for name in ("settings", "mgsm", "lcpr", "lm_eval")),
    },
    "matplotlib": {"search/results/figures.py", "search/inspect/heat_map.py"},
    "plotly": {"search/report/page.py"},
    "jinja2": {"search/report/page.py", "objectives/lm_eval_tasks.py"},
    "scipy": {
        "objectives/stats.py",
        "search/study/race.py",
        *(f"search/study/proposing/{name}.py" for name in ("acquisition", "model", "surrogate")),
    },
}
"""Library -> the files of `search/` and `objectives/` that import it, at any place in them."""

HEAVY = {"torch", "ray", "optuna", "vllm", "mlflow", "transformers", "matplotlib"}
PURE = (
    "search.study",
    "search.merging.space",
    "search.merging.recipe",
    "search.merging.plan",
    "search.merging.methods.registry",
    "search.results.choose",
    "search.export.mergekit_yaml",
    "objectives",
)
"""Rooms and modules that no heavy library is loaded for, by themselves or by what they import."""

DOORS = (
    "search.run.__main__",
    "search.check",
    "search.inspect.__main__",
    "search.export.__main__",
    "search.report.confusion",
    "search.sync",
    "search.studies",
    "search.best",
    "search.report.__main__",
    "search.ui",
    "objectives.score",
)

UNTESTED = {
    "objectives.sandbox_inside": "it ends its process: tests/objectives/test_sandbox.py runs it",
    "search.merging.methods.method": "types alone; every method's tests are theirs",
    "objectives.types": "types alone, and protocols, whose functions have no body",
}
"""Modules with functions and without a test file of their name -> why."""


def module_of(file: Path) -> str:
    """Dotted name of a source file."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {
    module_of(file): file
    for package in ("search", "objectives", "demo")
    for file in sorted((ROOT / package).rglob("*.py"))
}


def imported(tree: ast.AST) -> set[str]:
    """Dotted names of all modules, and of what is taken from them, that a tree imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    return found


@cache
def imports(module: str) -> frozenset[str]:
    """All that a module imports, anywhere in it."""
    return frozenset(imported(ast.parse(FILES[module].read_text("utf-8"))))


@cache
def loaded(module: str) -> frozenset[str]:
    """What is imported when a module is: not in functions, nor for type checkers alone."""
    found = set()
    for node in ast.parse(FILES[module].read_text("utf-8")).body:
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not (typing or isinstance(node, ast.FunctionDef | ast.ClassDef)):
            found |= imported(node)
    return frozenset(found)


def room_of(name: str) -> str | None:
    """The room of a dotted name of ours; None for what is nobody's room."""
    if name.partition(".")[0] == "objectives":
        return "objectives"
    within = [room for room in ROOMS if f"{name}.".startswith(f"search.{room}.")]
    return max(within, key=len, default=None)


def upward(module: str, names: frozenset[str]) -> list[str]:
    """The imports of a module that the order of rooms forbids."""
    own = room_of(module)
    if own is None:
        return []
    return [
        f"{module} imports {name}"
        for name in sorted(names)
        if (room := room_of(name)) not in (None, own) and ROOMS.index(room) < ROOMS.index(own)
    ]


def test_every_file_is_in_a_room() -> None:
    assert len(FILES) > 100
    strays = [m for m in FILES if not m.startswith("demo") and m != "search" and not room_of(m)]
    assert strays == []


def test_search_shows_rooms_and_doors() -> None:
    shown = {p.stem for p in (ROOT / "search").iterdir() if p.suffix == ".py" or p.is_dir()}
    shown -= {"__pycache__"}
    assert shown - {"__init__"} == {room.partition(".")[0] for room in ROOMS} - {"objectives"}
    assert len(shown) <= 18


@pytest.mark.parametrize("module", FILES)
def test_arrows_point_down(module: str) -> None:
    assert upward(module, imports(module)) == []
    ours = {"search", "demo"} if module.startswith("objectives") else {"demo"}
    if not module.startswith("demo"):
        assert not {n for n in imports(module) if n.partition(".")[0] in ours}


def test_an_arrow_that_points_up_is_seen() -> None:
    names = frozenset({"search.run.opening", "search.records.reader", "search.study.tracking"})
    assert upward("search.records.lock", names) == [
        "search.records.lock imports search.run.opening",
        "search.records.lock imports search.study.tracking",
    ]
    assert upward("search.run.job", names) == []


def test_no_cycle_between_files() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"cycle: {' -> '.join((*path, module))}"
        if module not in done:
            for other in sorted(imports(module) & FILES.keys() - {module}):
                visit(other, (*path, module))
            done.add(module)

    for module in FILES:
        visit(module, ())


@pytest.mark.parametrize("library", FENCES)
def test_fence(library: str) -> None:
    users = {
        str(file.relative_to(ROOT))
        for module, file in FILES.items()
        if not module.startswith("demo")
        if library in {name.partition(".")[0] for name in imports(module)}
    }
    assert users == FENCES[library]


@pytest.mark.parametrize("start", PURE)
def test_pure_rooms_load_no_heavy_library(start: str) -> None:
    own = (m for m in FILES if m == start or m.startswith(f"{start}."))
    queue = [m for m in own if room_of(m) == room_of(start)]
    seen: set[str] = set()
    assert queue
    while queue:
        module = queue.pop()
        if module not in seen:
            seen.add(module)
            heavy = {n for n in loaded(module) if n.partition(".")[0] in HEAVY}
            assert not heavy, f"{start} loads {module}, which imports {heavy}"
            queue += [name for name in loaded(module) if name in FILES]


def test_a_room_is_its_docstring() -> None:
    rooms = [file for file in FILES.values() if file.name == "__init__.py"]
    assert len(rooms) > 15
    for file in rooms:
        body = ast.parse(file.read_text("utf-8")).body
        assert len(body) == 1 and isinstance(body[0], ast.Expr), f"{file} holds more"


def test_no_file_repeats_its_folder() -> None:
    for module in FILES:
        *above, folder, name = ("", *module.split("."))
        assert not (above and re.match(rf"{folder}_|.*_{folder}$", name)), module


def test_nobody_imports_a_main() -> None:
    for module in FILES:
        assert not {name for name in imports(module) if name.endswith("__main__")}, module


def where_tested(module: str) -> Path:
    """Where the tests of a module are: `search.run.__main__` -> tests/search/run/test_main.py."""
    *folders, name = module.split(".")
    return ROOT.joinpath("tests", *folders, f"test_{name.strip('_')}.py")


def has_functions(module: str) -> bool:
    """Whether something in a module can be called that it defines itself."""
    tree = ast.parse(FILES[module].read_text("utf-8"))
    return any(isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(tree))


def test_every_module_with_functions_has_tests_of_its_name() -> None:
    ours = [m for m in FILES if m.startswith(("search.", "objectives.")) and has_functions(m)]
    missing = {module for module in ours if not where_tested(module).is_file()}
    assert len(ours) > 100 and missing == UNTESTED.keys()


def test_classes_that_are_named_as_text_exist() -> None:
    """A worker of vLLM is given the name of our extension: a move must not leave it dangling."""
    named = {
        node.value
        for file in FILES.values()
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.fullmatch(r"(search|objectives|demo)(\.[a-z_]+)+\.[A-Z]\w+", node.value)
    }
    assert "search.engine.worker.MaterialiseExtension" in named
    for text in sorted(named):
        module, _, name = text.rpartition(".")
        assert hasattr(importlib.import_module(module), name), text


@pytest.mark.parametrize("door", DOORS)
def test_help_loads_no_heavy_library(door: str) -> None:
    code = (
        f"import sys; from {door} import main\n"
        "try: main(['--help'])\n"
        f"except SystemExit: print(sorted(set({sorted(HEAVY)!r}) & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout.splitlines()[-1] == "[]", run.stderr
    assert "example" in run.stdout


@pytest.mark.slow
def test_a_wheel_holds_all_that_the_main_job_reads(tmp_path: Path) -> None:
    """Built from the tracked files, unpacked elsewhere: code, conf/ and the demo family."""
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    for name in tracked.stdout.splitlines() or pytest.skip("no git checkout: what is tracked?"):
        if name.startswith(("search/", "objectives/", "demo/", "conf/", "pyproject", "README")):
            (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).exists():
                shutil.copyfile(ROOT / name, tmp_path / "source" / name)
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation"]
    built = subprocess.run(
        [*command, "-w", str(tmp_path)], capture_output=True, text=True, cwd=tmp_path / "source"
    )
    assert built.returncode == 0, built.stderr[-3000:]
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import pathlib, search\n"
        "from search.config import compose\n"
        "config = compose.load(['objective=demo'], {'lang': 'te'})\n"
        "print(search.__file__, config.family.base, config.objective.mgsm.data_dir)\n"
        "import search.run.prepare, search.merging.methods.registry, demo.world\n"
        "assert (pathlib.Path(config.family.base) / 'model.safetensors').is_file()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert all(path.startswith(str(tmp_path / "site")) for path in run.stdout.split())
