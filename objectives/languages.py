"""The one table of languages: facts about each, as data.

Owns codes, names, scripts, detector labels, digits and MGSM's words. Knows no prompt format and
reads no file. A new language is a new row.

MGSM's words are those of its published exemplars (google-research/url-nlp, `exemplars.py`,
CC BY 4.0) and of lm-evaluation-harness's task files (lm_eval 0.4.13, `tasks/mgsm`), which spell
some of them otherwise. The other languages are those of the Language Confusion Benchmark (arXiv
2406.20052, table 1) and have no MGSM words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from objectives.errors import LanguageError
from objectives.words import guess, nearest

Splitter = Literal["spaces", "jieba", "fugashi", "script"]


@dataclass(frozen=True)
class MgsmWords:
    """What MGSM's prompts and answers say in one language.

    Attributes:
        question: stands before an exemplar's question, with the space that follows it, if any.
        answer: stands before an exemplar's step-by-step answer, without a space after it.
        phrases: say that the final number follows: those of the exemplars, and spellings of them.
        direct: the harness's word before an answer that is only a number.
        asked: the harness's word before the question asked; None where it is `question`.
        heading: the harness's word before a step-by-step answer; None where it is `answer`.
        gap: what the harness puts between that word and an exemplar's answer.
    """

    question: str
    answer: str
    phrases: tuple[str, ...]
    direct: str = "Answer:"
    asked: str | None = None
    heading: str | None = None
    gap: str = " "


@dataclass(frozen=True)
class Language:
    """One language.

    Attributes:
        code: ISO 639-1 code, as in MGSM's and the benchmark's file names.
        name: English name, as in "Reply in Telugu".
        script: ISO 15924 name of the script.
        splitter: how a line is cut into tokens, see `objectives.tokens`.
        digits: the ten digits of the script, zero first.
        decimal_mark: what stands before decimals: decides what "2.125" means.
        mgsm: MGSM's words; None where MGSM lacks the language.
    """

    code: str
    name: str
    script: str
    splitter: Splitter = "spaces"
    digits: str = "0123456789"
    decimal_mark: Literal[".", ","] = "."
    mgsm: MgsmWords | None = None

    @property
    def lid_label(self) -> str:
        """The label of lid.176, without its `__label__`: its codes are the same as ours."""
        return self.code

    @property
    def wpr_applies(self) -> bool:
        """Whether the word-level pass rate is defined: only where the script is not Latin."""
        return self.script != "Latin"

    @property
    def mgsm_words(self) -> MgsmWords:
        """MGSM's words.

        Raises:
            LanguageError: MGSM has no such language.
        """
        if self.mgsm is None:
            raise LanguageError(
                f"MGSM has no {self.name} ({self.code!r}): it has {' '.join(MGSM_CODES)}"
            )
        return self.mgsm


_WIDE = "０１２３４５６７８９"
_ARABIC = "٠١٢٣٤٥٦٧٨٩"

_TABLE = (
    Language(
        "bn",
        "Bengali",
        "Bengali",
        digits="০১২৩৪৫৬৭৮৯",
        mgsm=MgsmWords("প্রশ্ন: ", "ধাপে ধাপে উত্তর:", ("উত্তর হল",)),
    ),
    Language(
        "de",
        "German",
        "Latin",
        decimal_mark=",",
        mgsm=MgsmWords(
            "Frage: ",
            "Schritt-für-Schritt-Antwort:",
            ("Die Antwort ist", "Die Antwort lautet"),
            direct="Antwort:",
        ),
    ),
    Language(
        "en",
        "English",
        "Latin",
        mgsm=MgsmWords("Question: ", "Step-by-Step Answer:", ("The answer is",)),
    ),
    Language(
        "es",
        "Spanish",
        "Latin",
        decimal_mark=",",
        mgsm=MgsmWords(
            "Pregunta: ", "Respuesta paso a paso:", ("La respuesta es",), direct="Respuesta:"
        ),
    ),
    Language(
        "fr",
        "French",
        "Latin",
        decimal_mark=",",
        mgsm=MgsmWords(
            "Question : ", "Réponse étape par étape :", ("La réponse est",), direct="Réponse :"
        ),
    ),
    Language(
        "ja",
        "Japanese",
        "Japanese",
        splitter="fugashi",
        digits=_WIDE,
        mgsm=MgsmWords(
            "問題：",
            "ステップごとの答え：",
            ("答えは",),
            asked="問題： ",
            heading="ステップごとの答え:",
        ),
    ),
    Language(
        "ru",
        "Russian",
        "Cyrillic",
        decimal_mark=",",
        mgsm=MgsmWords(
            "Задача: ",
            "Пошаговое решение:",
            # the dashes are part of the phrase: "Ответ - 11" is 11, not -11
            ("Ответ —", "Ответ –", "Ответ -", "Ответ:"),
            heading="Пошаговоерешение:",
            gap="  ",
        ),
    ),
    Language(
        "sw",
        "Swahili",
        "Latin",
        mgsm=MgsmWords("Swali: ", "Jibu la Hatua kwa Hatua:", ("Jibu ni",)),
    ),
    Language(
        "te",
        "Telugu",
        "Telugu",
        digits="౦౧౨౩౪౫౬౭౮౯",
        mgsm=MgsmWords("ప్రశ్న: ", "దశలవారీగా సమాధానం:", ("సమాధానం",)),
    ),
    Language(
        "th",
        "Thai",
        "Thai",
        splitter="script",
        digits="๐๑๒๓๔๕๖๗๘๙",
        mgsm=MgsmWords("โจทย์: ", "คำตอบทีละขั้นตอน:", ("คำตอบคือ",)),
    ),
    Language(
        "zh",
        "Chinese",
        "Han",
        splitter="jieba",
        digits=_WIDE,
        mgsm=MgsmWords("问题：", "逐步解答：", ("答案是",), asked="问题： ", heading="逐步解答:"),
    ),
    Language("ar", "Arabic", "Arabic", digits=_ARABIC),
    Language("hi", "Hindi", "Devanagari", digits="०१२३४५६७८९"),
    Language("id", "Indonesian", "Latin", decimal_mark=","),
    Language("it", "Italian", "Latin", decimal_mark=","),
    Language("ko", "Korean", "Hangul"),
    Language("pt", "Portuguese", "Latin", decimal_mark=","),
    Language("tr", "Turkish", "Latin", decimal_mark=","),
    Language("vi", "Vietnamese", "Latin", decimal_mark=","),
)

LANGUAGES: Mapping[str, Language] = {row.code: row for row in _TABLE}
MGSM_CODES: tuple[str, ...] = tuple(sorted(row.code for row in _TABLE if row.mgsm))


def language(code: str) -> Language:
    """Look a language up.

    Raises:
        LanguageError: the table has no such code.
    """
    try:
        return LANGUAGES[code]
    except KeyError:
        raise LanguageError(
            f"unknown language {code!r}{guess(nearest_code(code))}: objectives/languages.py has "
            f"{' '.join(sorted(LANGUAGES))}"
        ) from None


def nearest_code(word: str) -> str:
    """The code of the language whose code or name a mistyped word is nearest to; empty if none."""
    known = {row.name: row.code for row in _TABLE} | {code: code for code in LANGUAGES}
    return known.get(nearest(word, known), "")
