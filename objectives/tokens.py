"""How a line is cut into tokens, for the length rule and the word-level check.

Owns the four splitters and the three packages behind two of them. Knows no metric.

The benchmark's script (for-ai/language-confusion, compute_metrics.py) cuts Chinese with jieba,
Japanese with fugashi and everything else at white space. Thai, which the benchmark lacks, is
written without spaces as well; for it, and wherever no published number is at stake, the `script`
splitter stands in: runs of a spaceless script count as words of a typical length.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from objectives.errors import DependencyError
from objectives.languages import Language, Splitter

SplitLine = Callable[[str], list[str]]

# kana and Han count two characters a word, Thai four: a rough mean word length
_CJK = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff々"
_THAI = r"\u0e00-\u0e7f"
_PIECES = re.compile(rf"[{_CJK}]{{1,2}}|[{_THAI}]{{1,4}}|[^\s{_CJK}{_THAI}]+")


def split_line(lang: Language, *, published: bool) -> SplitLine:
    """Choose the splitter of a language.

    Args:
        lang: the language that the text should be in.
        published: True for the benchmark's own tokens; False for tokens that need no package,
            where the text is not the benchmark's.

    Raises:
        DependencyError: the benchmark's tokeniser is not installed.
    """
    name = lang.splitter
    if not published and name != "spaces":
        return _by_script
    needed = _PACKAGES.get(name, ())
    if any(importlib.util.find_spec(package) is None for package in needed):
        raise DependencyError(
            f"{lang.name} is scored with {name}, as published: "
            f"pip install {' '.join(needed).replace('_', '-')}"
        )
    return _SPLITTERS[name]


def _by_spaces(line: str) -> list[str]:
    return line.split()


def _by_script(line: str) -> list[str]:
    return _PIECES.findall(line)


def _by_jieba(line: str) -> list[str]:
    return list(_jieba().cut(line))


def _by_fugashi(line: str) -> list[str]:
    return str(_tagger().parse(line)).split()


@functools.cache
def _jieba() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own old ways: escapes, pkg_resources
        jieba = importlib.import_module("jieba")
    jieba.setLogLevel(logging.WARNING)  # it announces its dictionary on stderr
    jieba.initialize()
    return jieba


@functools.cache
def _tagger() -> Any:
    return importlib.import_module("fugashi").Tagger("-O wakati -b 50000")


_PACKAGES: Mapping[Splitter, tuple[str, ...]] = {
    "jieba": ("jieba",),
    "fugashi": ("fugashi", "unidic_lite"),
}
_SPLITTERS: Mapping[Splitter, SplitLine] = {
    "spaces": _by_spaces,
    "script": _by_script,
    "jieba": _by_jieba,
    "fugashi": _by_fugashi,
}
