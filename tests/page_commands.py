"""The commands that pages and YAML heads show, as words, and whether our parsers take them.

Owns where commands stand: in code blocks of pages, in inline code that begins with a program, in
comments of YAML. Nothing is run.
"""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from search.config import compose
from tests.defined import ROOT, modules
from tests.names import GROUPS, make_targets, named

PROGRAMS = ("python", "make", "pip", "ray", "kubectl", "mlflow", "uvx", "export", "git", "rm")
_OURS = re.compile(r"python -m (search|objectives|demo|benchmarks|tests)\b.*")


class Command(NamedTuple):
    """A command line: where it stands, and its words without the comment."""

    file: Path
    line: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        """For messages and the ids of tests."""
        return f"{self.file.relative_to(ROOT)}:{self.line}: {shlex.join(self.words)}"


def shown(file: Path) -> list[Command]:
    """The command lines in a page's code blocks, or in a YAML file's comments."""
    lines = file.read_text(encoding="utf-8").splitlines()
    found, n = list[Command](), 0
    while n < len(lines):
        text, first = _code(lines[n], file), n + 1
        while text.endswith("\\") and n + 1 < len(lines):
            n += 1
            text = f"{text[:-1].rstrip()} {_code(lines[n], file)}"
        n += 1
        program = re.match(r"(?:[A-Z_]+=\S+ )*([a-z]+) ", text)
        if program and program[1] in PROGRAMS:
            found.append(Command(file, first, tuple(shlex.split(text, comments=True))))
    return found


def inline(file: Path) -> list[Command]:
    """Our commands in a page's inline code; what stands for more words is left out."""
    return [
        Command(file, name.line, tuple(w for w in shlex.split(name.text) if w != "..."))
        for name in named(file)
        if re.match(r"(?:[A-Z_]+=\S+ )*python -m \S+ \S", name.text)
    ]


def ours(command: Command) -> Command | None:
    """The part of a command line that one of our programs gets; None if there is none."""
    if command.words[0] == "make":
        return command
    found = _OURS.search(shlex.join(command.words))
    return found and Command(command.file, command.line, tuple(shlex.split(found[0])))


def check(command: Command, folder: Path) -> None:
    """Have the program's own parser take a command of ours, and load what configuration it names.

    Args:
        command: from `ours`.
        folder: the working directory, in which files that are a user's may be made.

    Raises:
        AssertionError: with what is wrong.
    """
    if command.words[0] == "make":
        for word in command.words[1:]:
            known = (
                word.partition("=")[0] in _variables() if "=" in word else word in make_targets()
            )
            assert known, f"{command}: the Makefile has no {word}"
        return
    name, words = command.words[2], list(command.words[3:])
    name = f"{name}.__main__" if f"{name}.__main__" in modules() else name
    assert name in modules(), f"{command}: there is no module {name}"
    if name.partition(".")[0] not in ("search", "objectives"):
        unknown = [w for w in words if w.startswith("--") and w not in _options(name)]
        assert not unknown, f"{command}: {name} has no {', '.join(unknown)}"
        return
    module = importlib.import_module(name)
    if not hasattr(module, "parser"):  # it takes no words
        assert not words or words[0] == ">", f"{command}: {name} takes no words"
        return
    parser = module.parser()
    mixed = any(action.dest == "overrides" for action in parser._actions)
    try:
        given = (parser.parse_intermixed_args if mixed else parser.parse_args)(words)
    except SystemExit as error:
        assert error.code == 0, f"{command}: {name} does not take that"
        return
    study = getattr(given, "resume", None) not in (None, "auto") or getattr(given, "extend", None)
    if mixed and not study:  # a study has its configuration
        _load(vars(given), folder)


def _load(given: dict[str, object], folder: Path) -> None:
    """Compose the configuration; a file that is a user's is made as our pages say."""
    overrides = [str(override) for override in given["overrides"]]  # type: ignore[attr-defined]
    for override in overrides:
        group, _, value = override.partition("=")
        if group in GROUPS and value.endswith(".yaml") and not (folder / value).exists():
            (folder / value).parent.mkdir(parents=True, exist_ok=True)
            shipped = ROOT / "conf" / "space" / "whole_model.yaml"
            own = family_file() if group == "family" else shipped.read_text("utf-8")
            (folder / value).write_text(own, encoding="utf-8")
    flags = {
        "lang": str(given.get("lang") or "te").partition(",")[0],  # of several, the first
        "objective.mgsm.data_dir": given.get("mgsm_dir"),
        "objective.lcpr.data_dir": given.get("lcb_dir"),
    }
    compose.load(overrides, {k: v if v is None else str(v) for k, v in flags.items()})


def family_file() -> str:
    """The family file that README shows."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^    # my\.yaml\n((?:    .*\n)+)", text, re.MULTILINE)
    assert block, "README shows no my.yaml"
    shown = re.sub(r"^    ", "", block[1], flags=re.MULTILINE)
    assert set(yaml.safe_load(shown)) >= {"name", "base", "task", "language"}
    return shown


def _code(line: str, file: Path) -> str:
    """What of a line may be a command: code of a page, comment of a YAML file."""
    if file.suffix == ".md":
        return line.strip() if line.startswith("    ") else ""
    return line.lstrip("# ").rstrip() if line.startswith("#") else ""


def _variables() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([A-Z]+) \?=", text, re.MULTILINE)) | set(_installers())


def _installers() -> Iterator[str]:
    text = (ROOT / "requirements" / "install.sh").read_text(encoding="utf-8")
    yield from re.findall(r"\$\{([A-Z_]+)", text)


def _options(name: str) -> set[str]:
    """Texts of a module that look like options: nothing is imported."""
    file = ROOT / f"{name.replace('.', '/')}.py"
    return {
        node.value
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if node.value.startswith("--")
    }
