"""Names in backticks, in comments, docstrings and pages, and whether they are the name of anything.

Owns what counts as a name: a file, a dotted name or a class of ours, a key of the configuration, a
target of the Makefile. What is not in the repository stands in `WRITTEN` and `FOREIGN`; everything
else that looks like a name must be found.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.defined import PACKAGES, ROOT, is_defined, members, modules, tree

GROUPS = ("family", "objective", "space", "search")
MAPPINGS = {"family.language", "family.references", "search.baselines"}
"""Keys of the configuration whose own keys the user chooses."""

WRITTEN = {
    *(
        "study.yaml",
        "trials.jsonl",
        "trials.jsonl.cut",
        "mlflow.json",
        "report.md",
        "report.tsv",
        "files.txt",
    ),
    *("pareto.png", "landscape.png", "optuna.journal", "optuna.journal.broken", "mlflow.db"),
    *(
        "report.html",
        "metrics.json",
        "answers.json",
        "summary.html",
        "summary.tsv",
        "space.yaml",
        "recipe.json",
        "family.yaml",
        "mergekit.yaml",
        "demo/work/",
        "my.yaml",
    ),
}
"""Files and folders that our commands and their users make."""

FOREIGN = {
    *("config.json", "adapter_config.json", "exemplars.py", "exemplars.json"),  # models, MGSM
    *("model.layers", "gpt_neox.layers", "transformer.h", "block_sparse_moe.experts"),  # tensors
    *("self_attn.q_proj", "Attention.forward", "key.of.a.value"),
}
"""Names of other people's, and of nobody's, that look like ours; with all that begins so."""

_FILE = re.compile(
    r"[\w.-]+\.(py|md|yaml|png|json|jsonl|toml|lock|sh|tsv|html|db|journal|cut|broken)"
)
_PATH = re.compile(r"[\w.-]+(/[\w.-]+)*/?")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_CLASS = re.compile(r"[A-Z][a-z0-9]+([A-Z]+[a-z0-9]+)+")
_TICKS = re.compile(r"(?<!`)`([^`]+)`(?!`)")


class Named(NamedTuple):
    """A text in backticks, and where it stands."""

    file: Path
    line: int
    text: str


def named(file: Path) -> Iterator[Named]:
    """All texts in backticks of a file; one over two lines is joined by a space."""
    for line, text in _prose(file):
        for found in _TICKS.finditer(text):
            here = line + text.count("\n", 0, found.start())
            yield Named(file, here, " ".join(found[1].split()))


def fault(name: Named) -> str | None:
    """What is wrong with a text in backticks; None if it names something, or is no name."""
    what = wrong(name.text, name.file.parent)
    where = name.file.relative_to(ROOT) if name.file.is_relative_to(ROOT) else name.file.name
    return what and f"{where}:{name.line}: `{name.text}` {what}"


def wrong(text: str, folder: Path = ROOT) -> str | None:
    """What is wrong with a name that stands in a file of a folder; None if nothing is."""
    text = re.sub(r"\(.*\)$", "", text)
    if command := re.match(r"python -m ([\w.]+)", text):
        text = command[1]
    if target := re.fullmatch(r"make ([a-z-]+)", text):
        return None if target[1] in make_targets() else "is no target of the Makefile"
    if choice := re.fullmatch(rf"({'|'.join(GROUPS)})=([a-z]\w*)", text):
        exists = (ROOT / "conf" / choice[1] / f"{choice[2]}.yaml").is_file()
        return None if exists else "is no file of conf/"
    key, sign, _ = text.partition("=")
    if text in WRITTEN or any(f"{key}.".startswith(f"{name}.") for name in FOREIGN):
        return None
    if sign and _DOTTED.fullmatch(key):
        return None if _is_key(key) else "is no key of the configuration"
    if _DOTTED.fullmatch(text) and text.partition(".")[0] in PACKAGES:
        return None if _is_key(text) or is_defined(text) else _nothing(text)
    if _FILE.fullmatch(text) or (_PATH.fullmatch(text) and "/" in text):
        return _wrong_file(text, folder)
    if _DOTTED.fullmatch(text):
        return _wrong_short_name(text)
    if _CLASS.fullmatch(text) and not _is_class(text):
        return "is no class here, and no file imports it"
    return None


@cache
def files() -> frozenset[str]:
    """Every file of the repository, and every folder with a slash behind it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()
    if not listed:  # no checkout
        listed = [str(file.relative_to(ROOT)) for file in ROOT.rglob("*") if file.is_file()]
    here = {name for name in listed if (ROOT / name).exists()}
    return frozenset(here | {f"{parent}/" for name in here for parent in Path(name).parents})


@cache
def make_targets() -> frozenset[str]:
    """The Makefile's targets that it says something of."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^([a-z-]+):.*##", text, re.MULTILINE))


@cache
def _keys() -> frozenset[str]:
    from search.config.reference import rows  # needs pydantic

    return frozenset(row.key for row in rows())


def _prose(file: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of comments and docstrings of code, of a page's paragraphs without its code."""
    source = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                if isinstance(node.value.value, str):
                    yield node.lineno, node.value.value
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
    elif file.suffix == ".md":
        line = 1
        for paragraph in source.split("\n\n"):
            lines = paragraph.split("\n")
            code = ("    ", "```")
            yield line, "\n".join("" if text.startswith(code) else text for text in lines)
            line += len(lines) + 1
    else:
        for line, text in enumerate(source.splitlines(), 1):
            yield line, text.partition("#")[2]


def _nothing(text: str) -> str:
    """What an absolute name lacks: its longest part that exists, and the next."""
    parts = text.split(".")
    n = max(n for n in range(1, len(parts)) if is_defined(".".join(parts[:n])))
    return f"is the name of nothing: {'.'.join(parts[:n])} defines no {parts[n]}"


def _wrong_short_name(text: str) -> str | None:
    """A key, a library's name, or what follows any module's name: `choose.best_swap`."""
    if _is_key(text) or any(is_defined(f"{module}.{text}") for module in modules()):
        return None
    first, _, rest = text.partition(".")
    owners = [m for m in modules() if m.rpartition(".")[2] == first]
    if members(first) or owners:
        return f"is the name of nothing: {', '.join(owners) or first} defines no {rest}"
    library = importlib.util.find_spec(first) is not None
    return None if library else f"is the name of nothing: no library is called {first}"


def _wrong_file(text: str, folder: Path) -> str | None:
    """A path from the root or from where it is named; or a file's last parts, if those are code."""
    found, path = files(), text.rstrip("/")
    for base in (ROOT, folder):
        full = (base / path).resolve()
        if full.is_relative_to(ROOT):
            name = str(full.relative_to(ROOT))
            if name in found or f"{name}/" in found:
                return None
    ours = f"{path.partition('/')[0]}/" in found
    if ours or not _FILE.fullmatch(path.rpartition("/")[2]):
        return "is no file of the repository" if ours else None
    if any(name.endswith(f"/{path}") for name in found):
        return None
    return "is the name of no file" if "/" not in text or text.endswith(".py") else None


def _is_key(text: str) -> bool:
    return text in _keys() or text.rpartition(".")[0] in MAPPINGS


def _is_class(text: str) -> bool:
    return any(text in module.names | module.imported for module in modules().values())
