import json
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives.answers import (
    direct_answer,
    flexible_answer,
    strict_answer,
    the_answer,
)
from objectives.datasets import MgsmSource, read_exemplars
from objectives.languages import MGSM_CODES, language
from tests.objectives.conftest import SHARED, needs_shared


@pytest.mark.parametrize(
    ("code", "text", "strict", "flexible"),
    [
        ("en", " 2 + 4 = 6. The answer is 6.", 6, 6),
        ("en", " So the answer is 72, in total.", 72, 72),
        ("en", " The answer is 5.\nNo: the answer is 6.", 6, 6),  # the last phrase counts
        ("en", " The answer is:\n\n**18**", 18, 18),
        ("en", " The answer is 6\nThat took 3 steps.", 6, 3),
        ("en", " The answer is 72, since 70 + 2 makes it.", 72, 2),
        ("en", " The answer is 18 dollars in 2 weeks.", 18, 2),
        ("en", " The answer is 5 + 6 = 11.", 11, 11),
        ("en", " The answer is $1,000 - $200 = $800, as 5 = 5.", 800, 5),
        ("en", " The answer is x = 3 x 4 = 12 eggs.", 12, 12),
        ("en", " The answer is 5 + 6 =", None, 6),
        ("en", " the\nanswer is -5%.", -5, -5),
        ("en", " The answer is 18.0, or 50 percent.", 18, 50),
        ("en", " 2 + 4 = 6.", None, 6),
        ("en", " I do not know.", None, None),
        ("en", " The answer is 6.\n\nQuestion: What is 3 + 9?\nThe answer is 12.", 6, 6),
        ("en", " The answer is 6. Q: What is 3 + 9? A: 12", 6, 6),
        ("te", " 2 + 4 = 6. సమాధానం 6.", 6, 6),
        ("te", " సమాధానం ౨,౧౨౫.", 2125, 2125),
        ("te", " దశలవారీగా సమాధానం: 9 గులాబీలు", None, 9),  # the heading is no answer phrase
        ("te", " The answer is 6, 2 + 4.", None, 4),  # the phrase of another language
        ("te", " సమాధానం 9.బొమ్మలు", 9, 9),
        ("bn", " মোট ৭ + ২ = ৯। উত্তর হল ৯।", 9, 9),
        ("ja", "5+6=11。答えは11個です。", 11, 11),
        ("zh", "所以答案是 2,125 美元。", 2125, 2125),
        ("ru", " 5 + 6 = 11. Ответ - 11.", 11, 11),  # a dash, not a minus sign
        ("ru", " Ответ — -3.", -3, -3),
        ("de", " Die Antwort lautet 2.125.", 2125, 2125),
        ("fr", " La réponse est 1 250 $.", 1250, 1250),
        ("fr", " La re\u0301ponse est 12.", 12, 12),  # decomposed letters
        ("sw", " Jibu ni 18.00", 18, 18),
        ("th", " ดังนั้น คำตอบคือ ๑๑", 11, 11),
        ("es", " La respuesta es $8.", 8, 8),
        ("zh", "答案是 ７２，一共 3 天。", 72, 3),
        ("bn", " উত্তর হল ₹১২,৩৪,৫৬৭।", 1234567, 1234567),
        ("en", r" The answer is $1\,000 - 200 = 800$.", 800, 800),
        ("ja", "5万+7万=12万。答えは5万+7万=12万円です。", 120000, 120000),
        ("zh", "所以答案是 1 万 2000 元，即每人 3 千元。", 12000, 3000),
        ("zh", "答案是 5千克。", 5, 5),
        ("th", " ค\u0e4d\u0e32ตอบคือ ๑๑ ใน 3 วัน", 11, 3),  # sara am in two parts
        ("th", " ค\u0e33ตอบคือ 1,200", 1200, 1200),
        ("en", "<think>Is it 7? The answer is 7.</think>\n\nThe answer is 6.", 6, 6),
        (
            "en",
            "It is 7. The answer is 7.\n</think> The answer is 6.",
            6,
            6,
        ),  # opened in the prompt
        ("en", "<think>\n\n</think>\n\nThe answer is 6.", 6, 6),
        ("en", "<think>The answer is 7.", None, None),  # cut off while it thought
        ("en", "<think>a 1</think>So 6. <think>or 7</think>The answer is 6.", 6, 6),
        ("en", "The answer is 6. <think>or 7?</think>", 6, 6),
        ("en", "<think>Question: 1? The answer is 1.</think> The answer is 6. Question: 2?", 6, 6),
        ("te", "<THINK >7</THINK> సమాధానం 6.", 6, 6),
    ],
)
def test_extraction(code: str, text: str, strict: int | None, flexible: int | None) -> None:
    expected = [None if n is None else Decimal(n) for n in (strict, flexible)]
    assert [strict_answer(text, language(code)), flexible_answer(text, language(code))] == expected


@pytest.mark.parametrize("code", MGSM_CODES)
def test_every_phrase_of_every_language(code: str) -> None:
    lang = language(code)
    number = "42".translate(str.maketrans("0123456789", lang.digits))
    for phrase in lang.mgsm_words.phrases:
        assert strict_answer(f"7 {phrase} {number}.\n8", lang) == 42


@pytest.mark.parametrize("code", MGSM_CODES)
def test_text_ends_at_the_next_question(code: str) -> None:
    lang = language(code)
    assert the_answer(f"a 1.\n\n{lang.mgsm_words.question}b 2", lang) == "a 1.\n\n"
    assert the_answer("a 1.", lang) == "a 1."


@pytest.mark.parametrize("code", MGSM_CODES)
def test_text_ends_at_the_next_question_in_the_harness_s_spelling(code: str) -> None:
    lang = language(code)
    asked = lang.mgsm_words.asked or lang.mgsm_words.question
    assert the_answer(f"a 1. {asked}b 2", lang) == "a 1. "
    assert the_answer(f" {asked}b 2", lang) == f" {asked}b 2"  # the first words are kept


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("11", 11),
        (" $11.", 11),
        ("\n\n౧౧ బంతులు\nఎందుకంటే 5 + 6", 11),  # what follows the line is not looked at
        ("The answer is 2,125", 2125),
        ("72, in total", 72),
        ("5 + 6 = 11", None),  # reasoning
        ("It takes 3 days to get 11", None),
        ("eleven", None),
        ("", None),
        ("11\n\nప్రశ్న: 1 + 1?\nAnswer:2", 11),
    ],
)
def test_a_direct_answer_is_the_number_itself(text: str, expected: int | None) -> None:
    assert direct_answer(text, language("te")) == expected


@pytest.mark.parametrize("code", MGSM_CODES)
@given(
    value=st.integers(min_value=-(10**9), max_value=10**9),
    separator=st.sampled_from(["", ",", ".", " ", "\u00a0", "\u202f", "\u2009"]),
    native=st.booleans(),
    around=st.sampled_from(["{}", "{}.", "{},", "{}।", "{}。", "${}", "{}%", "**{}**", "{} x"]),
)
def test_any_number_behind_the_phrase_is_read_back(
    code: str, value: int, separator: str, native: bool, around: str
) -> None:
    lang = language(code)
    if separator == "." and lang.decimal_mark == ".":
        separator = ""  # that would be decimals in this language
    written = f"{value:,}".replace(",", separator)
    if native:
        written = written.translate(str.maketrans("0123456789", lang.digits))
    if value < 0:
        around = around.replace("${}", "{}")  # "$-5" is nobody's way to write it
    text = f"7 + 1 = 8 {lang.mgsm_words.phrases[0]} {around.format(written)}"
    assert strict_answer(text, lang) == value
    assert flexible_answer(text, lang) == value
    assert direct_answer(around.format(written), lang) == value


# stanford-crfm/helm#4337; lm_eval 0.4.13, tasks/mgsm/native_cot (bn and ja, strict-match)
HELM = r"[\d,]+"
LM_EVAL = {"bn": r"The answer is (\-?[0-9\.\,]+)", "ja": r"答えは(\-?[0-9\.\,]+)です。"}


@pytest.mark.parametrize("code", ["en", "te"])
def test_a_lone_comma_is_no_number(code: str) -> None:
    lang = language(code)
    text = f"{lang.mgsm_words.phrases[0]} 72, in total, so"
    assert re.findall(HELM, text)[-1] == ","  # which HELM then compares with 72
    assert strict_answer(text, lang) == flexible_answer(text, lang) == 72


@pytest.mark.parametrize(
    ("code", "text", "matches"),
    [
        ("bn", "5 + 6 = 11। উত্তর হল 11।", False),
        ("ja", "5+6=11。答えは11です。", True),
        ("ja", "5+6=11。答えは11個です。", False),
        ("ja", "5+6=11。答えは11個。", False),
    ],
)
def test_answers_that_the_harness_does_not_find(code: str, text: str, matches: bool) -> None:
    assert bool(re.search(LM_EVAL[code], text)) == matches
    assert strict_answer(text, language(code)) == flexible_answer(text, language(code)) == 11


@needs_shared
@pytest.mark.parametrize("code", MGSM_CODES)
def test_published_exemplars_extract_to_their_numbers(code: str) -> None:
    lang = language(code)
    published = json.loads((SHARED / "mgsm" / "exemplars.json").read_text(encoding="utf-8"))
    exemplars = read_exemplars(MgsmSource(SHARED / "mgsm"), lang, 8)
    for extract in (strict_answer, flexible_answer):
        assert [extract(e.answer, lang) for e in exemplars] == published["number_answers"]


@needs_shared
@pytest.mark.parametrize(("code", "found"), [("bn", 0), ("ja", 5)])
def test_the_harness_misses_published_exemplars(code: str, found: int) -> None:
    exemplars = read_exemplars(MgsmSource(SHARED / "mgsm"), language(code), 8)
    assert sum(bool(re.search(LM_EVAL[code], e.answer)) for e in exemplars) == found
