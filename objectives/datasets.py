"""Reads the published data of MGSM and of the Language Confusion Benchmark.

Owns the file formats and their errors, each with file and line; the only file that imports
`datasets`. Knows no prompt format and no score.

    MGSM   <dir>/mgsm_<lang>.tsv                   question TAB answer, no header, any number
           <dir>/exemplars.py                      MGSM_EXEMPLARS = {lang: {"1": {"q": , "a": }}}
           <dir>/exemplars.json                    or the same under the key "exemplars"
    MGSM   a data set of the Hugging Face hub      one configuration per language, split test with
                                                   question, answer_number; train: question, answer
    LCB    <dir>/<setting>/<source>/<lang>.csv     columns prompt, source, language

MGSM: google-research/url-nlp, folder mgsm, or juletxara/mgsm on the hub. MGSM-Rev2
(google-research-datasets/MGSM-Rev2) has the same TSV files and no exemplars: put url-nlp's
exemplars.py beside them. LCB: for-ai/language-confusion, test_sets/.

Folders are read where they are. A data set of the hub is downloaded by the `datasets` library once
and kept in its cache (HF_HOME); with HF_HUB_OFFLINE=1 it is read from there. That is done in a
process apart, as a few packed bytes may stand for more than a disk or memory holds.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import resource
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from objectives import apart
from objectives.bounds import read_whole
from objectives.errors import DataError, DependencyError
from objectives.languages import LANGUAGES, Language
from objectives.letters import composed, whole
from objectives.numerals import as_number
from objectives.rows import csv_rows, decode
from objectives.words import counted

Setting = Literal["crosslingual", "monolingual"]

_LARGEST, _MOST_ROWS = 2**26, 100_000  # bytes of a file; MGSM has 250 rows, some 100 kB
_PATIENCE = 600.0  # seconds, a download among them
_TSV = "Each line is a question, a tab and a number"
_ROW = "Each row is a question and its number"
_EXEMPLARS = (
    'Exemplars are {"te": {"1": {"q": "...", "a": "..."}}}, in JSON under the key "exemplars"'
)
_PUBLISHED = "google-research/url-nlp on GitHub, folder mgsm"
_BOTH_WAYS = (
    f"Name a folder of MGSM's files (published: {_PUBLISHED}) or a data set of the Hugging Face "
    "hub (juletxara/mgsm)"
)


@dataclass(frozen=True)
class MgsmSource:
    """Where MGSM is read from: a folder or a data set of the hub, exactly one of them.

    Attributes:
        data_dir: folder of the published files, or of files of one's own in their form.
        dataset: name on the hub, or a local folder that `datasets` can load; "NAME@REVISION" pins a
            revision.

    Raises:
        DataError: neither is given, or both.
    """

    data_dir: Path | None = None
    dataset: str | None = None

    def __post_init__(self) -> None:
        if (self.data_dir is None) == (self.dataset is None):
            found = "no data is named" if self.data_dir is None else "a folder and a data set"
            raise DataError(f"MGSM: {found}. {_BOTH_WAYS}")


@dataclass(frozen=True)
class MgsmItem:
    """One question of MGSM and its answer."""

    id: str
    question: str
    target: Decimal

    @property
    def stratum(self) -> str:
        """MGSM has one source."""
        return "mgsm"


@dataclass(frozen=True)
class Exemplar:
    """A worked example, without the words that MGSM puts before question and answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class LcbPrompt:
    """One prompt of the Language Confusion Benchmark."""

    id: str
    stratum: str
    prompt: str


def read_mgsm(source: MgsmSource, lang: Language) -> tuple[list[MgsmItem], str]:
    """Read the questions of one language, and say from where.

    Raises:
        DataError: the data is missing, empty or not UTF-8, or a row is malformed or repeated.
        DependencyError: the hub is asked and `datasets` is not installed.
        LanguageError: MGSM has no such language.
    """
    _ = lang.mgsm_words
    if source.data_dir is not None:
        path = source.data_dir / f"mgsm_{lang.code}.tsv"
        where = str(path)
        rows: Iterable[tuple[Any, Any]] = _tsv_rows(path)
    else:
        where, rows = _hub_rows(source, lang, "test", ("question", "answer_number"))
    items: list[MgsmItem] = []
    seen: dict[str, int] = {}
    for line, (asked, answer) in enumerate(rows, 1):
        question = str(asked or "").strip()
        if not question:
            raise DataError.at(where, "no question", _ROW, line)
        if question in seen:
            problem = f"the question of line {seen[question]} again"
            raise DataError.at(where, problem, "Keep one of them", line)
        seen[question] = line
        target = as_number(str(answer))
        if target is None:
            raise DataError.at(where, f"the answer {answer!r} is not one number", _ROW, line)
        items.append(MgsmItem(f"mgsm_{lang.code}:{line}", question, target))
    return items, where


def read_exemplars(source: MgsmSource, lang: Language, shots: int) -> list[Exemplar]:
    """Read the first `shots` worked examples of one language, in their published order.

    The published ones begin with the language's words for "Question:" and "Step-by-Step Answer:";
    mirrors of the data set may leave them out or have the English ones.

    Raises:
        DataError: the data is missing or malformed, or has fewer examples.
        DependencyError: the hub is asked and `datasets` is not installed.
        LanguageError: MGSM has no such language.
    """
    _ = lang.mgsm_words
    if shots == 0:
        return []
    if source.data_dir is not None:
        where, rows = _exemplar_rows(source.data_dir, lang)
    else:
        where, rows = _hub_rows(source, lang, "train", ("question", "answer"))
    if len(rows) < shots:
        problem = f"{counted(len(rows), 'exemplar')} of {lang.code!r}, shots {shots} are asked for"
        raise DataError.at(where, problem, "Lower shots or add exemplars")
    return [_exemplar(n, row, lang, where) for n, row in enumerate(rows[:shots], 1)]


def _exemplar(number: int, row: tuple[Any, Any], lang: Language, where: str) -> Exemplar:
    """Take the words off that stand before question and answer; the prompt puts its own there.

    Raises:
        DataError: one of the two is no text, or has nothing but the words.
    """
    words, english = lang.mgsm_words, LANGUAGES["en"].mgsm_words
    asked, answered = (text if isinstance(text, str) else "" for text in row)
    found = Exemplar(
        _without(asked, words.question, (words.asked, english.question)),
        _without(
            answered, words.answer, (words.heading, words.direct, english.answer, english.direct)
        ),
    )
    for text, given in zip((found.question, found.answer), row, strict=True):
        if not text.strip() or text != whole(text):
            problem = f"exemplar {number} of {lang.code!r} has the text {given!r}"
            raise DataError.at(where, problem, "Each exemplar is a question and its answer")
    return found


def _without(text: str, published: str, others: Iterable[str | None]) -> str:
    """Take the word off that stands before a text, if any does: a mirror may have another or none.

    Args:
        text: a question or an answer.
        published: the word of the published exemplars, with its colon and space.
        others: words that a mirror may have instead; with any colon and space.
    """
    if text.startswith(published):
        return text.removeprefix(published).removeprefix(" ")
    stems = {composed(word).rstrip(" :：") for word in (published, *others) if word}
    pattern = rf"\s*(?:{'|'.join(map(re.escape, stems))})\s?[:：]\s*"
    found = re.match(pattern, composed(text), re.IGNORECASE)
    return composed(text)[found.end() :] if found else text


def _tsv_rows(path: Path) -> Iterator[tuple[str, str]]:
    for line, row in enumerate(_read_text(path).rstrip("\r\n").split("\n"), 1):
        cells = row.rstrip("\r").split("\t")
        if len(cells) != 2 or not cells[0].strip():
            raise DataError.at(path, f"expected 2 fields, found {_fields(cells)}", _TSV, line)
        yield cells[0], cells[1].strip()


def _fields(cells: list[str]) -> str:
    if not "".join(cells).strip():
        return "an empty line"
    return f"{len(cells)}" if all(cells) else f"{len(cells)}, one of them empty"


def _exemplar_rows(data_dir: Path, lang: Language) -> tuple[str, list[tuple[Any, Any]]]:
    """Return the file's name, and question and answer of each exemplar of the language."""
    files = [data_dir / name for name in ("exemplars.py", "exemplars.json")]
    path = next((path for path in files if path.is_file()), None)
    if path is None:
        remedy = f"Copy exemplars.py from {_PUBLISHED}, or set shots to 0"
        raise DataError.at(data_dir, "no exemplars.py and no exemplars.json", remedy)
    text, is_python = _read_text(path), path.suffix == ".py"
    try:
        tables = _python_table(text) if is_python else json.loads(text)["exemplars"]
        rows = tables[lang.code]
        return str(path), [(rows[key]["q"], rows[key]["a"]) for key in sorted(rows, key=int)]
    except (json.JSONDecodeError, SyntaxError) as error:
        problem = f"not {'Python' if is_python else 'JSON'} ({error.msg})"
        raise DataError.at(path, problem, _EXEMPLARS, error.lineno) from error
    except (
        *(LookupError, TypeError, ValueError, OverflowError),
        *(RecursionError, MemoryError),
    ) as error:
        problem = f"no exemplars of {lang.code!r} in the expected shape ({error!r})"
        raise DataError.at(path, problem, _EXEMPLARS) from error


def _python_table(text: str) -> Any:
    """Return the literal that MGSM_EXEMPLARS is set to; the file is parsed and never run."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MGSM_EXEMPLARS":
            return ast.literal_eval(node.value)
    raise KeyError("MGSM_EXEMPLARS")


def _hub_rows(
    source: MgsmSource, lang: Language, split: str, columns: tuple[str, str]
) -> tuple[str, list[tuple[Any, Any]]]:
    """Return what to call a split of a data set in errors, and two columns of its rows."""
    name, _, revision = str(source.dataset).partition("@")
    where = f"{source.dataset} ({lang.code}, {split})"
    if importlib.util.find_spec("datasets") is None:
        raise DependencyError(
            f"{where}: the package datasets is not installed: pip install datasets, or name a "
            f"folder of MGSM's files (published: {_PUBLISHED})"
        )
    asked = (where, name, revision or None, lang.code, split, columns)
    try:
        rows = apart.call(load_rows, *asked, kinds=(DataError,), seconds=_PATIENCE)
    except apart.ApartError as error:
        raise DataError.at(where, f"cannot be loaded ({error})", _BOTH_WAYS) from error
    return where, [tuple(row) for row in rows]


def load_rows(
    where: str, name: str, revision: str | None, code: str, split: str, columns: Sequence[str]
) -> list[list[Any]]:
    """Return columns of a data set, from a process that may be ended.

    Raises:
        DataError: it cannot be loaded, or lacks a column.
    """
    hub = importlib.import_module("datasets")
    extract = importlib.import_module("datasets.utils.extract")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST, most))
    for archive in ("tar", "zip", "rar", "7z"):  # of any number of files
        extract.Extractor.extractors.pop(archive, None)
    # of a folder datasets 5.2 would return what one of that name held before
    own = tempfile.TemporaryDirectory() if Path(name).is_dir() else nullcontext()
    with own as cache:
        try:
            table = hub.load_dataset(name, code, split=split, revision=revision, cache_dir=cache)
        except (OSError, ValueError, RuntimeError, hub.exceptions.DatasetsError) as error:
            raise DataError.at(where, f"cannot be loaded ({error})", _BOTH_WAYS) from error
        missing = [column for column in columns if column not in table.column_names]
        if missing:
            remedy = f"It has {', '.join(table.column_names)}; name another data set"
            raise DataError.at(where, f"no column {', '.join(missing)}", remedy)
        if len(table) > _MOST_ROWS:
            raise DataError.at(
                where, counted(len(table), "row"), f"MGSM has 250; at most {_MOST_ROWS}"
            )
        rows = zip(*(table[column] for column in columns), strict=True)
        plain = (str, int, float, type(None))
        return [[v if isinstance(v, plain) else str(v) for v in row] for row in rows]


def read_lcb(data_dir: Path, lang: Language, settings: tuple[Setting, ...]) -> list[LcbPrompt]:
    """Read the prompts of one language from every source of the settings.

    A source's own file for the language is taken where there is one. A cross-lingual source
    without one lends its prompts from another language: they are one English text in which only
    the language's name changes ("Reply in French" -> "Reply in Telugu"). Prompts that a source
    holds twice are taken once, so that no prompt can be in both parts of a split.

    Raises:
        DataError: no source has prompts for the language, or a file is malformed.
    """
    prompts: list[LcbPrompt] = []
    for setting in settings:
        folder = data_dir / setting
        for source in sorted(path for path in folder.glob("*") if path.is_dir()):
            own = source / f"{lang.code}.csv"
            if own.is_file():
                prompts += _unique(_read_lcb_file(own, setting, lang))
            elif setting == "crosslingual" and (donor := _donor(source)) is not None:
                rows = _read_lcb_file(source / f"{donor.code}.csv", setting, donor)
                prompts += _unique(_renamed(source, rows, donor, lang))
    if not prompts:
        raise DataError.at(
            data_dir,
            f"no prompts for {lang.code!r} in {' or '.join(settings)}",
            f"Name a folder with <setting>/<source>/{lang.code}.csv",
        )
    return prompts


def _read_lcb_file(path: Path, setting: Setting, lang: Language) -> Iterator[tuple[int, LcbPrompt]]:
    """Yield each record with the number of its first line."""
    line = 0
    for line, row in csv_rows(path, ("prompt", "source", "language")):
        if not row["prompt"].strip():
            raise DataError.at(path, "no prompt", "Each record is a prompt", line)
        if row["language"] != lang.code:
            problem = f"language {row['language']!r} in the file of {lang.code!r}"
            raise DataError.at(path, problem, "Move the row to its language's file", line)
        stratum = f"{setting}/{row['source']}"
        yield line, LcbPrompt(f"{stratum}/{lang.code}:{line}", stratum, row["prompt"])
    if line == 0:
        raise DataError.at(path, "no prompts", "Put them under the header")


def _donor(source: Path) -> Language | None:
    """Choose the file to lend from; French first: it names its language once in every prompt."""
    codes = ["fr", *sorted(LANGUAGES)]
    return next((LANGUAGES[c] for c in codes if (source / f"{c}.csv").is_file()), None)


def _renamed(
    source: Path, rows: Iterator[tuple[int, LcbPrompt]], donor: Language, lang: Language
) -> Iterator[tuple[int, LcbPrompt]]:
    for line, row in rows:
        if (times := row.prompt.count(donor.name)) != 1:
            raise DataError.at(
                source / f"{donor.code}.csv",
                f"names {donor.name} {counted(times, 'time')}, expected once",
                f"Give {lang.name} prompts in {lang.code}.csv",
                line,
            )
        prompt = row.prompt.replace(donor.name, lang.name)
        yield line, LcbPrompt(f"{row.stratum}/{lang.code}:{line}", row.stratum, prompt)


def _unique(rows: Iterator[tuple[int, LcbPrompt]]) -> list[LcbPrompt]:
    first: dict[str, LcbPrompt] = {}
    for _, row in rows:
        first.setdefault(row.prompt, row)
    return list(first.values())


def _read_text(path: Path) -> str:
    """Read a file of MGSM's as UTF-8, keeping its line breaks."""
    try:
        data = read_whole(path)
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise DataError.at(path, problem, _BOTH_WAYS) from error
    text = decode(data, path)
    if "\ufffd" in text:
        line = text[: text.index("\ufffd")].count("\n") + 1
        problem = "a character was lost in an earlier conversion (U+FFFD)"
        raise DataError.at(path, problem, "Get the file again", line)
    if not text.strip():
        raise DataError.at(path, "the file is empty", _BOTH_WAYS)
    return text
