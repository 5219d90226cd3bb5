from dataclasses import replace
from pathlib import Path

import pytest

from objectives.confusion import (
    ConfusionJudge,
    EnglishWords,
    confusion_scores,
    normalise,
    too_little,
)
from objectives.errors import DataError
from objectives.langid import LanguageIdentifier
from objectives.languages import language
from objectives.rates import Outcome
from objectives.tokens import split_line
from tests.objectives.fasttext_file import write_model

U, L, W, P = Outcome.UNSCORED, Outcome.LINE_ERROR, Outcome.WORD_ERROR, Outcome.PASS
RUSSIAN = "Сегодня утром мы долго гуляли по старому парку"
TELUGU = "ఈ రోజు ఉదయం మేము పాత ఉద్యానవనంలో చాలా సేపు నడిచాము"
ENGLISH = "This morning we walked for a long time in the old park"
FRENCH = "Ce matin nous avons marché longtemps dans le vieux parc"


def judge(code: str, lid: LanguageIdentifier, words: EnglishWords | None = None) -> ConfusionJudge:
    splitter = split_line(language(code), published=False)
    return ConfusionJudge(language(code), splitter, lid, words or EnglishWords())


@pytest.mark.parametrize(
    ("code", "response", "expected"),
    [
        ("ru", RUSSIAN, P),
        ("te", TELUGU, P),
        ("fr", FRENCH, P),
        ("ja", "今日の朝、私たちは古い公園を長い時間散歩しました。", P),
        ("zh", "今天早上我们在古老的公园里散步了很长时间。", P),
        ("th", "เมื่อเช้านี้พวกเราเดินเล่นในสวนสาธารณะเก่าแก่เป็นเวลานาน", P),
        ("ru", ENGLISH, L),
        ("ru", f"{RUSSIAN}\n{ENGLISH}", L),  # one line is enough
        ("ru", f"{RUSSIAN}\nthe old park", P),  # three tokens do not make a line
        ("ru", "Да, конечно!", U),
        ("ru", "", U),
        ("ru", "one two three four", U),
        ("ru", f"{RUSSIAN}\nQ: {ENGLISH}", P),  # cut at the next question
        ("ru", f"{RUSSIAN} walked", W),
        ("ru", f"{RUSSIAN} (walked).", W),  # punctuation is gone before the words are looked at
        ("ru", f"{RUSSIAN} Walked", P),  # capitals are names
        ("ru", f"{RUSSIAN} old", P),  # three letters
        ("te", f"{TELUGU} walked", W),
        ("fr", f"{FRENCH} walked", P),  # no word level in Latin script
        ("ru", "- - - - - - -", U),
        ("ru", "1 2 3 4 5 6", L),  # as published: digits are a line, in no language
    ],
)
def test_outcome(code: str, response: str, expected: Outcome, lid: LanguageIdentifier) -> None:
    assert judge(code, lid).judge(response).outcome is expected


@pytest.mark.parametrize(
    ("response", "published", "ours"),
    [
        ("2 * 3 = 6, 6 + 5 = 11", L, U),
        (f"{RUSSIAN}\n2 * 3 = 6, 6 + 5 = 11", L, P),
        (f"{RUSSIAN}\n२ × ३ = ६ । ५ %", L, P),
        (f"{RUSSIAN}\n2 x 3 = 6, x + 5 = 11", L, L),  # x is a letter
        (RUSSIAN, P, P),
        (ENGLISH, L, L),
    ],
)
def test_lines_without_a_letter_may_be_left_out(
    response: str, published: Outcome, ours: Outcome, lid: LanguageIdentifier
) -> None:
    as_published = judge("ru", lid)
    assert as_published.judge(response).outcome is published
    assert replace(as_published, skip_sums=True).judge(response).outcome is ours


@pytest.mark.parametrize(
    ("response", "judged"),
    [
        ("  \n a b\n\n", "a b"),
        ("a\nQ: b", "a"),
        ("a Q: b\nQ:c\nQ: d", "a Q b"),  # only at the start of a line
        ("Q: a\nb", "Q a\nb"),  # not the first line
        ("a-b, (c)! #d* 'e'", "ab c d e"),
        ("a—b ،c", "a b c"),
        ("а«б»。", "а«б»。"),  # ASCII punctuation only
    ],
)
def test_what_is_judged(response: str, judged: str) -> None:
    assert normalise(response) == judged


@pytest.mark.parametrize("mark", ["\u2028", "\x0b", "\x0c", "\x85"])
def test_only_line_feeds_part_lines(mark: str, lid: LanguageIdentifier) -> None:
    assert judge("ru", lid).judge(f"{RUSSIAN}{mark}{RUSSIAN}").n_lines == 1
    assert judge("ru", lid).judge(f"{RUSSIAN}\n{RUSSIAN}").n_lines == 2


def test_details_of_a_judgement(lid: LanguageIdentifier) -> None:
    found = judge("ru", lid).judge(f"{RUSSIAN}\n{ENGLISH}\n{RUSSIAN}")
    assert (found.n_lines, found.n_line_errors, found.first_error) == (3, 1, "en")
    verdict = found.verdict(wpr_applies=True)
    assert (verdict["scored"], verdict["line_ok"], verdict["word_ok"]) == (True, False, None)
    assert judge("ru", lid).judge(f"{RUSSIAN} walked").first_error == "walked"


def test_unsure_label_is_an_error(tmp_path: Path) -> None:
    words = {"ar": ["a"], "arb": ["b"], "ara": ["c"], "arb_Arab": ["d"], "ara_Arab": ["e"]}
    own = LanguageIdentifier(write_model(tmp_path / "own.bin", words))
    assert own.labels(["a b c d e"]) == ["ar"]  # whichever of them: each has a share of 0.2
    assert judge("ar", own).judge("a b c d e").outcome is L
    assert judge("ar", own).judge("a a a a b").outcome is P


def test_word_list(tmp_path: Path, lid: LanguageIdentifier) -> None:
    path = tmp_path / "words"
    path.write_text("park\nthe\nLondon\nwalked\n", encoding="utf-8")
    words = EnglishWords.read(path)
    assert words.known == {"park", "walked"}
    assert judge("ru", lid, words).judge(f"{RUSSIAN} walked").outcome is W
    assert judge("ru", lid, words).judge(f"{RUSSIAN} strolled").outcome is P
    path.write_text("the\nLondon\n", encoding="utf-8")
    with pytest.raises(DataError, match="words: no lower-case word of four letters"):
        EnglishWords.read(path)
    with pytest.raises(DataError, match="nowhere: cannot be read"):
        EnglishWords.read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("code", "outcomes", "strata", "lpr", "wpr", "lcpr", "coverage"),
    [
        ("ru", [P, P, W, L], "aaaa", 3 / 4, 2 / 3, 12 / 17, 1),
        ("ru", [P, U, U, U], "aaaa", 1, 1, 1, 1 / 4),
        ("ru", [L, L], "aa", 0, None, 0, 1),
        ("ru", [W, W], "aa", 1, 0, 0, 1),
        ("ru", [P, L, L, W], "aabb", 1 / 2, 1 / 2, 1 / 2, 1),
        ("ru", [P, L, L, L], "abbb", 1 / 2, 1, 2 / 3, 1),  # sources weigh the same
        ("sw", [P, P, P, L], "aaaa", 3 / 4, None, 3 / 4, 1),
        ("ru", [U, U], "aa", None, None, None, 0),
    ],
)
def test_scores(code, outcomes, strata, lpr, wpr, lcpr, coverage) -> None:
    scores = confusion_scores(outcomes, list(strata), language(code), seed=0)
    expected = {"lpr": lpr, "wpr": wpr, "lcpr": lcpr, "coverage": coverage}
    for name, value in expected.items():
        assert scores[name].value == (None if value is None else pytest.approx(value)), name
    for score in scores.values():
        if score.value is not None:
            assert score.low <= score.value <= score.high


@pytest.mark.parametrize(
    ("outcomes", "strata", "floor", "reason"),
    [
        ([P, U], "aa", 0.5, None),
        ([P, U, U], "aaa", 0.5, "coverage 0.33 is under the floor 0.5 (1 of 3 responses have"),
        ([U, U], "aa", 0.0, "coverage 0.00 is under the floor 0 (0 of 2"),
        ([P, P, U], "aab", 0.5, "coverage of b is 0: none of its 1 responses"),
    ],
)
def test_coverage_floor(outcomes, strata, floor, reason) -> None:
    found = too_little(outcomes, list(strata), floor)
    assert found is None if reason is None else found is not None and found.startswith(reason)
