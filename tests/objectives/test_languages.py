import unicodedata

import pytest

from objectives.errors import LanguageError
from objectives.languages import LANGUAGES, MGSM_CODES, language


def test_mgsm_languages_are_eleven() -> None:
    assert MGSM_CODES == ("bn", "de", "en", "es", "fr", "ja", "ru", "sw", "te", "th", "zh")


def test_the_benchmark_s_languages_are_fifteen() -> None:
    benchmark = "ar de en es fr hi id it ja ko pt ru tr vi zh".split()
    assert set(benchmark) <= set(LANGUAGES)
    assert set(LANGUAGES) - set(benchmark) == set(MGSM_CODES) - set(benchmark)


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_digits_are_zero_to_nine(code: str) -> None:
    assert [unicodedata.decimal(digit) for digit in language(code).digits] == list(range(10))


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_words_are_counted_as_english_in_other_scripts_only(code: str) -> None:
    lang = language(code)
    latin = any("LATIN" in unicodedata.name(letter) for letter in NAMES[code])
    assert lang.wpr_applies is not latin


NAMES = {  # what the language is called in its own script
    "ar": "عربي", "bn": "বাংলা", "de": "Deutsch", "en": "English", "es": "castellano",
    "fr": "langue", "hi": "हिन्दी", "id": "bahasa", "it": "italiano", "ja": "日本語",
    "ko": "한국어", "pt": "lingua", "ru": "русский", "sw": "kiswahili", "te": "తెలుగు",
    "th": "ไทย", "tr": "dil", "vi": "chữ", "zh": "中文",
}  # fmt: skip


@pytest.mark.parametrize("code", MGSM_CODES)
def test_words_of_mgsm(code: str) -> None:
    words = language(code).mgsm_words
    assert words.question.rstrip(" ").endswith((":", "："))
    assert words.answer.endswith((":", "：")) and words.direct.endswith(":")
    assert words.phrases and all(phrase == phrase.strip() for phrase in words.phrases)


@pytest.mark.parametrize(
    ("code", "message"),
    [("xx", r"unknown language 'xx': objectives/languages\.py has ar bn de"), ("TE", "unknown")],
)
def test_an_unknown_language(code: str, message: str) -> None:
    with pytest.raises(LanguageError, match=message):
        language(code)


def test_a_language_without_mgsm() -> None:
    with pytest.raises(LanguageError, match=r"MGSM has no Korean \('ko'\): it has bn de en"):
        _ = language("ko").mgsm_words
