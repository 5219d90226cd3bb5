"""The items that the best recipe gained and lost against what it has to beat, with both answers.

Owns which items are shown, how many and how much of each, and what is marked in an answer: the
number that was read, words of another language. Nothing of them is HTML before it is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from objectives.confusion import EnglishWords
from objectives.languages import LANGUAGES
from objectives.letters import visible
from objectives.types import ItemResult, Prompt
from search.common.errors import StudyError
from search.records.record import Record
from search.report.material import Material
from search.results.best import EXPERT
from search.results.choose import DEFAULT, SOUP

SHOWN = 12
"""Items that are shown of those that were gained, and of those that were lost, for each rival."""
LONGEST = 1500
"""Characters of a question, and of an answer."""
_RIVALS = {"default": DEFAULT, "soup": SOUP, "expert": EXPERT}
_WORD = re.compile(r"[^\W\d_]+")
_SAID = {"PASS": "", "LINE_ERROR": "a line in another language", "WORD_ERROR": "an English word",
         "UNSCORED": "too short to be judged"}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """One model's answer.

    Attributes:
        text: the answer, escaped, its parts marked.
        facts: what was found about it, a few words each.
        right: whether it counts.
    """

    text: Markup
    facts: tuple[str, ...]
    right: bool


@dataclass(frozen=True)
class Pair:
    """One item with the best recipe's answer and the other's."""

    id: str
    question: str
    target: str
    ours: Answer
    theirs: Answer


@dataclass(frozen=True)
class Compared:
    """The best recipe against one other.

    Attributes:
        what: the other's role.
        label: its label.
        gained: items that the best recipe alone has right: those that are shown, and how many.
        lost: those that the other alone has right.
    """

    what: str
    label: str
    gained: tuple[Sequence[Pair], int]
    lost: tuple[Sequence[Pair], int]


def compared(study: Material) -> Iterator[Compared]:
    """The best recipe against each rival that has answers to the same items."""
    best, main = study.report.best, study.targets[0]
    if best is None or main.won is None:
        return
    ours = _items(study, best.record)
    for rival, what in _RIVALS.items():
        other = study.report.rivals.get(rival)
        if other is None or other.key == best.record.key:
            continue
        theirs = _items(study, other)
        one, two = main.marks(ours.values()), main.marks(theirs.values())
        both = [name for name in one if name in two]
        gained = [name for name in both if one[name] and not two[name]]
        lost = [name for name in both if two[name] and not one[name]]
        yield Compared(
            what,
            other.label,
            (_pairs(study, gained, ours, theirs, ours_right=True), len(gained)),
            (_pairs(study, lost, ours, theirs, ours_right=False), len(lost)),
        )


def _items(study: Material, record: Record) -> Mapping[str, ItemResult]:
    """Item -> answer of the first target; none where they cannot be read."""
    try:
        found = study.records.items(record)
    except StudyError:
        return {}
    return {item.id: item for item in found if item.objective == study.targets[0].objective}


def _pairs(
    study: Material,
    names: Sequence[str],
    ours: Mapping[str, ItemResult],
    theirs: Mapping[str, ItemResult],
    *,
    ours_right: bool,
) -> Sequence[Pair]:
    lang = study.final.config.lang
    return [
        Pair(
            visible(name),
            _question(ours[name].prompt),
            _fact(ours[name], "target"),
            _answer(ours[name], lang, right=ours_right),
            _answer(theirs[name], lang, right=not ours_right),
        )
        for name in names[:SHOWN]
    ]


def _question(prompt: Prompt) -> str:
    """The end of a prompt: before it stand worked examples."""
    whole = prompt if isinstance(prompt, str) else prompt[-1].content if prompt else ""
    last = whole.strip().rpartition("\n\n")[2]
    return f"… {last[-LONGEST:]}" if len(last) < len(whole.strip()) else last[-LONGEST:]


def _fact(item: ItemResult, name: str) -> str:
    value = item.verdict.get(name)
    return "" if value is None else str(value)[:200]


def _answer(item: ItemResult, lang: str, *, right: bool) -> Answer:
    read, label = _fact(item, "extracted"), _fact(item, "label")
    outcome = _fact(item, "outcome")
    facts = [f"number read: {read}" if read else ""]
    facts += ["no number read"] if not read and "extracted" in item.verdict else []
    facts += [f"identified as {label}" if label else ""]
    facts += [_SAID.get(outcome, outcome.lower())]
    facts += ["cut off"] if item.finish_reason == "length" else []
    return Answer(
        marked(item.completion, read, lang, _fact(item, "first_error")),
        tuple(fact for fact in facts if fact),
        right,
    )


def marked(completion: str, read: str, lang: str, first_error: str = "") -> Markup:
    """An answer as HTML: the last place of the number that was read, and confused words, marked.

    Confused is a word of a response in another script than Latin that counts as English
    (`objectives.confusion`), and the word that the judge named.

    Args:
        completion: the answer.
        read: the number that was read of it; empty where none was.
        lang: language code that it should be in.
        first_error: what the judge named, a language or a word.
    """
    shown = visible(completion.strip())
    shown = shown if len(shown) <= LONGEST else f"{shown[:LONGEST]} …"
    marks = [(m.span(), "read") for m in _number(shown, read)]
    known = LANGUAGES.get(lang)
    if known is not None and known.wpr_applies:
        english = EnglishWords()
        marks += [
            (m.span(), "confused")
            for m in _WORD.finditer(shown)
            if m[0].lower() in english or m[0] == first_error
        ]
    html, at = Markup(""), 0
    for (start, end), kind in sorted(marks):
        if start < at:
            continue
        html += escape(shown[at:start])
        html += Markup('<mark class="{}">{}</mark>').format(kind, shown[start:end])
        at = end
    return html + escape(shown[at:])


def _number(shown: str, read: str) -> Sequence[re.Match[str]]:
    """The last place where a number stands, its digits perhaps in groups."""
    if not read:
        return []
    digits = r"[,.\u00a0 ]?".join(map(re.escape, read))
    found = list(re.finditer(rf"(?<!\d){digits}(?!\d)", shown))
    return found[-1:]
