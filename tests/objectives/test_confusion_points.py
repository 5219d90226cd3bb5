import csv
import re

import pytest

from objectives.confusion import ConfusionJudge, EnglishWords
from objectives.confusion_points import Average, find_switch, points, traced
from objectives.langid import LanguageIdentifier
from objectives.languages import LANGUAGES, language
from objectives.rates import Outcome
from objectives.tokens import split_line
from objectives.types import ItemResult, Step
from tests.objectives.conftest import SHARED, needs_shared

RUSSIAN = "Сегодня утром мы долго гуляли по старому парку"
TELUGU = "ఈ రోజు ఉదయం మేము పాత ఉద్యానవనంలో చాలా సేపు నడిచాము"
ENGLISH = "This morning we walked for a long time in the old park"
FRENCH = "Ce matin nous avons marché longtemps dans le vieux parc"
JAPANESE = "今日の朝、私たちは古い公園を長い時間散歩しました。"
CHINESE = "今天早上我们在古老的公园里散步了很长时间。"


def judge(code: str, lid: LanguageIdentifier) -> ConfusionJudge:
    lang = language(code)
    return ConfusionJudge(lang, split_line(lang, published=False), lid, EnglishWords())


def words(text: str) -> tuple[Step, ...]:
    """A step for each word with the space before it; the n-th is n nats unsure, n tokens wide."""
    return tuple(Step(word, float(i), i) for i, word in enumerate(re.findall(r"\s*\S+", text)))


@pytest.mark.parametrize(
    ("code", "text", "point", "found"),
    [
        ("ru", RUSSIAN, None, None),
        ("ru", "Да, конечно!", None, None),  # nothing to judge
        ("ru", "", None, None),
        ("ru", ENGLISH, "This", "en"),
        ("ru", f"{RUSSIAN}\n\n{ENGLISH}", "\n\nThis", "en"),
        ("ru", f"{RUSSIAN}\n  * 12. {ENGLISH}", " This", "en"),  # the first letter
        ("ru", f"{RUSSIAN}\nQ: {ENGLISH}", None, None),  # what follows "Q:" is not judged
        ("ru", f"{RUSSIAN} Парк.\nНо {ENGLISH}", " This", "en"),  # within a line
        ("fr", f"{FRENCH}.\n{ENGLISH}", "\nThis", "en"),  # one script: the line
        ("fr", f"{FRENCH}.\n- {RUSSIAN}", " Сегодня", "ru"),
        ("te", f"{TELUGU}\n{ENGLISH} {TELUGU[:6]}", "\nThis", "en"),
        ("ru", f"{RUSSIAN} and walked don't", " walked", "walked"),
        ("ru", f"{RUSSIAN} Walked sidewalked1 (walked)", " (walked)", "walked"),
        ("ru", f"{RUSSIAN} we sha'nt go", " sha'nt", "shant"),  # as the judge reads it
        ("te", f"{TELUGU} walked\n{TELUGU} park", " walked", "walked"),
        ("ja", f"{JAPANESE}\n{CHINESE}", f"\n{CHINESE}", "zh"),
    ],
)
def test_point(
    code: str, text: str, point: str | None, found: str | None, lid: LanguageIdentifier
) -> None:
    steps = words(text)
    switch = find_switch(steps, judge(code, lid))
    assert (switch and steps[switch.step].text, switch and switch.found) == (point, found)
    if switch is not None and point is not None:
        assert text[: switch.end].endswith(point)
        assert text[switch.start : switch.end] in point.strip() and text[switch.start].strip()


def test_point_of_a_character_in_pieces(lid: LanguageIdentifier) -> None:
    """Bytes before the last of a character have no text; the switch is at the first of them."""
    steps = [*words(FRENCH), Step("\n", 0, 1)]
    at = len(steps)
    steps += [Step("", 2, 9), Step("С", 3, 8), *words(RUSSIAN[1:])]
    switch = find_switch(steps, judge("fr", lid))
    assert switch is not None and (switch.step, switch.end - switch.start) == (at, 1)


def row(name: str, text: str, *, trace: bool = True) -> ItemResult:
    steps = tuple(words(text)) if trace else ()
    return ItemResult("lcpr", name, "prompt", text, len(steps), "stop", {}, steps)


def test_averages(lid: LanguageIdentifier) -> None:
    """Two of three responses switch, at their tokens 8 and 0; one item was not traced."""
    rows = [
        row("a", f"{RUSSIAN} walked old"),  # 0 to 9, the point is 8
        row("b", "This morning we walked for"),  # 0 to 4, the point is 0
        row("c", RUSSIAN),  # 0 to 7
        row("d", RUSSIAN, trace=False),
    ]
    found = traced(rows, judge("ru", lid))
    assert [response.id for response in found] == ["a", "b", "c"]
    assert [response.point and response.point.entropy for response in found] == [8, 0, None]
    table = points(found)
    assert (table.responses, table.confused) == (3, 2)
    assert table.overall == Average(23, (45 + 10 + 28) / 23, (45 + 10 + 28) / 23)
    assert table.at_points == Average(2, 4, 4)
    assert table.elsewhere == Average(21, (37 + 10 + 28) / 21, (37 + 10 + 28) / 21)


def test_nothing_confused(lid: LanguageIdentifier) -> None:
    table = points(traced([row("c", RUSSIAN)], judge("ru", lid)))
    assert table.at_points == Average(0, None, None) and table.elsewhere == table.overall
    assert points([]).overall == Average(0, None, None)


@pytest.mark.parametrize("code", [code for code, lang in LANGUAGES.items() if lang.mgsm])
def test_a_languages_own_letters_are_not_foreign(code: str, lid: LanguageIdentifier) -> None:
    """After words of its own on the same line, the switch is at the other script's letter."""
    lang = language(code)
    own = f"{lang.mgsm_words.question}{lang.mgsm_words.phrases[0]}"
    other = ENGLISH if lang.wpr_applies else RUSSIAN
    text = f"{own} {other} {other} {other}"
    switch = find_switch(words(text), judge(code, lid))
    assert switch is not None and switch.start == len(own) + 1


@needs_shared
def test_every_confused_published_response_has_a_point(lid: LanguageIdentifier) -> None:
    """Each tenth completion of a published model, in 15 languages."""
    csv.field_size_limit(10**9)
    with open(SHARED / "lcb/outputs/llama-3-instruct.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[::10]
    judges = {code: judge(code, lid) for code in {row["language"] for row in rows}}
    n = 0
    for row in rows:
        steps = words(row["completion"])
        outcome = judges[row["language"]].judge("".join(s.text for s in steps)).outcome
        confused = outcome in (Outcome.LINE_ERROR, Outcome.WORD_ERROR)
        assert (find_switch(steps, judges[row["language"]]) is not None) is confused
        n += confused
    assert n > 100 and len(judges) == 15
