"""One spelling of letters, lines without any, and text that UTF-8 cannot hold."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives.letters import composed, has_letter, visible, whole


@pytest.mark.parametrize(
    ("written", "letter"),
    [
        ("ค\u0e4d\u0e32ตอบ", "ค\u0e33ตอบ"),
        ("น\u0e49\u0e4d\u0e32", "น\u0e49\u0e33"),  # the tone mark before both parts
        ("น\u0e4d\u0e49\u0e32", "น\u0e49\u0e33"),  # or between them
        ("\u0e99\u0ecd\u0eb2", "\u0e99\u0eb3"),  # Lao
        ("e\u0301", "é"),
        ("ค\u0e4d", "ค\u0e4d"),  # nikhahit alone is a letter of Pali
        ("ค\u0e32", "ค\u0e32"),
    ],
)
def test_composed(written: str, letter: str) -> None:
    assert composed(written) == letter


@given(st.text(st.characters(min_codepoint=0x0E00, max_codepoint=0x0EFF)))
def test_every_spelling_of_thai_and_lao_is_composed_alike(text: str) -> None:
    assert composed(unicodedata.normalize("NFKD", composed(text))) == composed(
        unicodedata.normalize("NFKC", text).replace("\u0e4d\u0e32", "\u0e33")
    )
    assert composed(composed(text)) == composed(text)


@pytest.mark.parametrize("line", ["2 3 6 6 5 11", "2 × 3 = 6, 6 + 5 = 11", "១២ ৫০%", "", "… —"])
def test_no_letter(line: str) -> None:
    assert not has_letter(line)


@pytest.mark.parametrize("line", ["2 x 3", "৫ টি", "3個", "๕ ลูก", "5 б"])
def test_a_letter_of_any_script(line: str) -> None:
    assert has_letter(line)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a\ud83db", "a\ufffdb"),
        ("\ude00", "\ufffd"),
        ("x\ud83d", "x\ufffd"),
        ("\ud83d\ude00", "😀"),
    ],
)
def test_lone_surrogates_are_replaced(text: str, found: str) -> None:
    assert whole(text) == found


@given(st.text(st.characters()))  # surrogates as well
def test_any_text_can_be_written(text: str) -> None:
    whole(text).encode()
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert whole(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("తెలుగు\u200c స్త్రీ\ta\nb", "తెలుగు\u200c స్త్రీ\ta\nb"),
        ("\x1b[2J\x07\x00", "\\x1b[2J\\x07\\x00"),
        ("a\rb\x9b\x7f", "a\\rb\\x9b\\x7f"),
        ("\u202ea\u2066", "\\u202ea\\u2066"),
        ("\ud800 \U0001f600", "\\ud800 \U0001f600"),
    ],
)
def test_what_commands_a_terminal_is_shown_as_its_escape(text: str, shown: str) -> None:
    assert visible(text) == shown == visible(shown)
