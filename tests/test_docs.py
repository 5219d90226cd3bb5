"""What is written is true: commands parse, names resolve, pages keep to their length."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel

from search.config import compose
from search.config.schema import Config

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = [
    file
    for folder in ("search", "objectives", "demo", "benchmarks", "tests", "docs")
    for file in sorted((ROOT / folder).rglob("*.py"))
]
PARSERS = {
    "search.run": "search.run.__main__",
    "search.check": "search.check",
    "search.inspect": "search.inspect.__main__",
    "search.export": "search.export.__main__",
    "objectives.score": "objectives.score",
}
"""Command -> the module whose `parser()` it is parsed by."""

WRITTEN = {
    *("study.yaml", "trials.jsonl", "report.md", "report.tsv", "mlflow.json", "space.yaml"),
    *("family.yaml", "mergekit.yaml", "my.yaml", "exemplars.py"),
}
"""Files that a command writes, a user, or MGSM's authors: they are not in the repo."""

FOLDERS = ("search", "objectives", "demo", "tests", "benchmarks", "conf", "docs", "cluster")
CONFIG = ("search", "space", "objective", "family")


@cache
def names_of(module: str) -> frozenset[str] | None:
    """Dotted names that a module of ours defines: classes with what is theirs; None: no module."""
    file = ROOT / Path(*module.split("."))
    source = file.with_suffix(".py") if file.with_suffix(".py").exists() else file / "__init__.py"
    if not source.exists():
        return None
    return frozenset(_defined(ast.parse(source.read_text("utf-8")).body))


def _defined(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from _defined(node.body, f"{prefix}{node.name}.")
                yield from _assigned(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assign):
            yield from (prefix + t.id for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield prefix + node.target.id
        elif isinstance(node, ast.If):
            yield from _defined([*node.body, *node.orelse], prefix)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (prefix + (alias.asname or alias.name) for alias in node.names)


def _assigned(node: ast.ClassDef, prefix: str) -> Iterator[str]:
    """Attributes that methods set on `self`."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
            if inner.value.id == "self":
                yield prefix + inner.attr


def is_key(name: str) -> bool:
    """Whether a dotted name is a key of the configuration, such as `search.engine.dtype`."""
    model: type[BaseModel] | None = Config
    for part in name.split("."):
        if model is None or part not in model.model_fields:
            return False
        found = model.model_fields[part].annotation
        model = found if isinstance(found, type) and issubclass(found, BaseModel) else None
    return True


def is_name(name: str) -> bool:
    """Whether a dotted name of ours is a module, something in one, or a key."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        known = names_of(".".join(parts[:length]))
        if known is not None or (ROOT / Path(*parts[:length])).is_dir():
            rest = ".".join(parts[length:])
            return not rest or rest in (known or ()) or is_key(name)
    return is_key(name)


@cache
def file_names() -> frozenset[str]:
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT).stdout
    return frozenset(listed.split())


def is_file(name: str, page: Path) -> bool:
    """Whether a path leads somewhere from the root, from its page, or ends a path of the repo."""
    plain = name.split("#")[0].rstrip("/")
    here = [base / plain for base in (ROOT, page.parent, page.parent.parent)]
    if "*" in plain:
        return any(any(ROOT.glob(plain)) for _ in (0,))
    return any(path.exists() for path in here) or any(
        known.endswith(f"/{plain}") for known in file_names()
    )


def dangling(text: str, page: Path) -> Iterator[tuple[int, str]]:
    """Line and name of what stands in backticks and does not exist."""
    for number, line in enumerate(text.splitlines(), 1):
        for name in re.findall(r"(?<!`)`([^`\s]+)`(?!`)", line):
            if re.fullmatch(r"(search|objectives|demo|tests|benchmarks|space)(\.\w+)+", name):
                if not is_name(name) and name not in WRITTEN:
                    yield number, name
            elif re.fullmatch(r"[\w./-]+\.(py|md|yaml|toml|sh|lock)", name):
                if not is_file(name, page) and Path(name).name not in WRITTEN:
                    yield number, name
            elif re.fullmatch(rf"({'|'.join(FOLDERS)})/[\w./-]*", name):
                if not is_file(name, page):
                    yield number, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_on_a_page_exist(page: Path) -> None:
    found = list(dangling(page.read_text("utf-8"), page))
    assert found == [], f"{page.name}: {found}"


def test_names_in_docstrings_and_comments_exist() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {name}"
        for file in CODE
        if file != Path(__file__)
        for number, name in dangling(file.read_text("utf-8"), file)
    ]
    assert found == [], "\n".join(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see `search.records.reader.RecordsReader.ended`", []),
        ("a `search.records.store.Store.bigin`", ["search.records.store.Store.bigin"]),
        ("see `search.no_such_room.file`", ["search.no_such_room.file"]),
        ("see `search.study.fate.judged`", ["search.study.fate.judged"]),
        ("see `search.engine.dtype` and `search.trials`", []),
        ("see `search.engine.dtipe`", ["search.engine.dtipe"]),
        ("see `docs/records.md` and `watch.py`", []),
        ("see `docs/recrods.md` and `wotch.py`", ["docs/recrods.md", "wotch.py"]),
        ("see `search/study/` and `search/studdy/`", ["search/studdy/"]),
        ("see `torch.compile` and `vllm.LLM`", []),
    ],
)  # fmt: skip
def test_a_wrong_name_is_seen(text: str, found: list[str]) -> None:
    assert [name for _, name in dangling(text, ROOT / "README.md")] == found


@pytest.mark.parametrize(("name", "most"), [("README.md", 130), ("CONTRIBUTING.md", 80)])
def test_pages_keep_to_their_length(name: str, most: int) -> None:
    assert len((ROOT / name).read_text("utf-8").splitlines()) <= most


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def commands(page: Path) -> list[str]:
    """Command lines of a page's code blocks, continued lines joined, comments cut."""
    text = re.sub(r"\\\n\s*", " ", page.read_text("utf-8"))
    lines = re.findall(
        r"^(?: {4}|#\s+|)((?:python -m (?:search|objectives|benchmarks)|make )\S.*)$", text, re.M
    )
    return [re.sub(r"\s+#.*", "", line).strip() for line in lines]


EVERY = [(page, line) for page in PAGES for line in commands(page)]


@pytest.mark.parametrize(("page", "line"), EVERY, ids=[f"{p.name}-{c[:60]}" for p, c in EVERY])
def test_commands_parse(page: Path, line: str) -> None:
    words = [word.strip("[]") for word in shlex.split(line.replace("...", ""))]
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
        assert words[1] in targets
        return
    name, arguments = words[2], words[3:]
    assert names_of(name) is not None
    if name not in PARSERS:
        return
    parser: argparse.ArgumentParser = importlib.import_module(PARSERS[name]).parser()
    parsed = (
        parser.parse_intermixed_args(arguments)
        if name == "search.run"
        else parser.parse_args(arguments)
    )
    if name == "search.run":
        shown = [o.replace("=my.yaml", "=demo") for o in parsed.overrides]
        own = [o for o in shown if not re.match(r"\w+=\S+\.ya?ml$", o)]
        folders = {"objective.mgsm.data_dir": "data", "objective.lcpr.data_dir": "data"}
        compose.load(own, {"lang": parsed.lang or "te", **folders})


def test_each_command_stands_once() -> None:
    counted = Counter(line for _, line in EVERY if line not in ("make test", "make demo"))
    assert [line for line, count in counted.items() if count > 1] == []


def test_every_module_is_on_the_map() -> None:
    made = subprocess.run(
        [sys.executable, "docs/make_map.py"], capture_output=True, text=True, cwd=ROOT
    ).stdout
    assert made == (ROOT / "docs" / "map.md").read_text("utf-8"), "run make docs"
    for folder in ("search", "objectives"):
        for file in (ROOT / folder).rglob("*.py"):
            assert file.name == "__init__.py" or f"`{file.relative_to(ROOT)}`" in made
