"""The final number of an answer.

Owns where to look in a completion; how to read the number found there is `objectives.numerals`'
business. Knows no prompt and no score.

Two ways, reported side by side. Both see the completion after what the model thought, up to where
it goes on to invent the next question.

- strict: the number after the last occurrence of the language's answer phrase, on the first line
  from there that has one; an equation is followed to its end ("The answer is 5 + 6 = 11").
- flexible: the last number, whatever stands before it.

They are lm-evaluation-harness's strict-match and flexible-extract (lm_eval 0.4.13, `tasks/mgsm`)
without their faults: strict-match wants 0-9 directly behind one spelling of the phrase, and the
first phrase even where the model corrects itself; its Bengali pattern is in English words and
matches none of the published Bengali exemplars, its Japanese one 5 of 8; flexible-extract takes
"..." and "$," for numbers.
"""

from __future__ import annotations

import functools
import re
from decimal import Decimal

from objectives.languages import Language
from objectives.letters import composed
from objectives.numerals import UNITS, last_number, numbers
from objectives.types import Completion


def without_thinking(text: str) -> str:
    """Return a completion without what stands between `<think>` and `</think>`.

    The tag that opens may be missing, since some chat templates write it into the prompt: then all
    before `</think>` goes. Thoughts that never end were cut off, and go to the end of the text.
    """
    kept: list[str] = []
    thinks = False
    for piece in _TAG.split(text):
        if not _TAG.fullmatch(piece):
            kept += [] if thinks else [piece]
            continue
        closes = piece.startswith("</")
        if closes and not thinks:
            kept.clear()
        thinks = not closes
    return "".join(kept)


def answered(completion: Completion, thinking_tokens: int) -> str:
    """Return what a completion says without what it thinks.

    Args:
        completion: what an engine wrote.
        thinking_tokens: how much it might think. If it might, a text that was cut off before
            `</think>` is a thought, whose tag the prompt opened.
    """
    cut_off = thinking_tokens and completion.finish_reason == "length"
    return without_thinking(f"<think>{completion.text}" if cut_off else completion.text)


def the_answer(text: str, lang: Language) -> str:
    """Return the part of a completion that answers: after thinking, before the next question."""
    text = without_thinking(text)
    start = len(text) - len(text.lstrip())
    match = _next_question(lang.mgsm_words.question).search(text, start + 1)
    return text[: match.start()] if match else text


def strict_answer(text: str, lang: Language) -> Decimal | None:
    """Return the number after the language's answer phrase; None without a phrase or a number."""
    text = _prepare(text, lang)
    ends = [match.end() for match in _any_phrase(lang.mgsm_words.phrases).finditer(text)]
    if not ends:
        return None
    for line in text[ends[-1] :].split("\n"):
        equation = _EQUATION.match(line)
        rest = line[equation.end() :] if equation else line
        found = next(numbers(rest, lang.decimal_mark), None)
        if found is not None:
            return found
    return None


def flexible_answer(text: str, lang: Language) -> Decimal | None:
    """Return the last number; None where there is none."""
    return last_number(_prepare(text, lang), lang.decimal_mark)


def direct_answer(text: str, lang: Language) -> Decimal | None:
    """Return the only number of the first line that is not blank; None if it has none or more.

    The strict way where no reasoning is asked for and the answer is the number itself: "11",
    "$11.", "11 balls" and "The answer is 11" are answers, "5 + 6 = 11" is reasoning.
    """
    line = _prepare(text, lang).strip().partition("\n")[0]
    found = list(numbers(line, lang.decimal_mark))
    return found[0] if len(found) == 1 else None


_TAG = re.compile(r"(</?think(?:ing)?\s*>)", re.IGNORECASE)

# up to the last equals sign before the first letter, but for an x or a myriad that multiplies
_EQUATION = re.compile(rf"(?:[^\w\n]|\d(?: ?[{UNITS}]+)?|\bx\b)*[=＝]")


def _prepare(text: str, lang: Language) -> str:
    text = composed(the_answer(text, lang))
    # the Telugu heading "step-by-step answer:" ends in the answer phrase itself
    return text.replace(composed(lang.mgsm_words.answer), "\n")


@functools.cache
def _any_phrase(phrases: tuple[str, ...]) -> re.Pattern[str]:
    written = (composed(phrase).split() for phrase in phrases)
    return re.compile(
        "|".join(r"\s+".join(re.escape(word) for word in words) for words in written),
        re.IGNORECASE,
    )


@functools.cache
def _next_question(question: str) -> re.Pattern[str]:
    words = {question.rstrip(" :："), "Question", "Q"}
    return re.compile(rf"(?<!\w)(?:{'|'.join(re.escape(word) for word in sorted(words))})\s?[:：]")
