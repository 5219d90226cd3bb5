from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.languages import LANGUAGES
from objectives.numerals import as_number, last_number, numbers, plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("72, in total", "72"),  # stanford-crfm/helm#4337: a lone comma is no number
        ("2,125", "2125"),
        ("1,234,567.50", "1234567.5"),
        ("1.234.567,50", "1234567.5"),
        ("12,34,567", "1234567"),  # Indian grouping
        ("1 234 567", "1234567"),
        ("1\u202f234", "1234"),
        ("1\u00a0234", "1234"),
        ("1'234", "1234"),
        ("2{,}125", "2125"),  # LaTeX
        ("18.00", "18"),
        ("3,5", "3.5"),
        ("0.125", "0.125"),
        ("$23.", "23"),
        ("-$5", "-5"),
        ("−4", "-4"),
        ("= -3", "-3"),
        ("20-12", "12"),
        ("covid-19", "19"),
        ("50%", "50"),
        ("**18**", "18"),
        ("1,2,3", "3"),
        ("24.12.2024", "2024"),
        ("5 30", "30"),
        ("2024 100", "100"),  # no group of four digits is grouped
        ("౨,౧౨౫", "2125"),
        ("১২,৩৪,৫৬৭", "1234567"),
        ("๑๘ ลูก", "18"),
        ("２，１２５円", "2125"),
        ("答案是5，300元", "300"),  # the full-width comma ends a clause
        ("٢٫٥", "2.5"),
        ("१,२३,४५६ रुपये", "123456"),  # Devanagari
        ("= ７２．０", "72"),
        ("₹1,00,000/-", "100000"),
        ("5,00 €", "5"),
        ("US$ 1,250.00", "1250"),
        ("৫০%।", "50"),
        ("－７", "-7"),
        ("1\u2009234\u2009567", "1234567"),
        ("39.చాక్లెట్‌లు", "39"),
        ("9" * 5000, "9" * 5000),  # int() would refuse more than 4300 digits
    ],
)
def test_last_number(text: str, expected: str) -> None:
    found = last_number(text)
    assert found is not None
    assert plain(found) == expected


@pytest.mark.parametrize("text", ["", ",", "no number", "., -", "五"])
def test_no_number(text: str) -> None:
    assert last_number(text) is None


@pytest.mark.parametrize(
    ("text", "mark", "expected"),
    [("2.125", ".", "2.125"), ("2.125", ",", "2125"), ("2,125", ",", "2125"), ("2.5", ",", "2.5")],
)
def test_dot_with_three_digits_depends_on_the_language(text: str, mark: str, expected: str) -> None:
    assert last_number(text, mark) == Decimal(expected)


def test_numbers_in_order() -> None:
    assert list(numbers("9 + 20 = 29, $1,000 and -3.5")) == [
        Decimal(value) for value in ("9", "20", "29", "1000", "-3.5")
    ]


@pytest.mark.parametrize(
    ("text", "ok"), [("2,125", True), ("12 cups", False), ("1,2", True), ("", False)]
)
def test_as_number_wants_all_of_the_text(text: str, ok: bool) -> None:
    assert (as_number(text) is not None) == ok


def _groups(digits: str, separator: str, indian: bool) -> str:
    head, tail = digits[:-3], digits[-3:]
    size = 2 if indian else 3
    parts = []
    while head:
        parts.insert(0, head[-size:])
        head = head[:-size]
    return separator.join([*parts, tail])


@pytest.mark.parametrize("code", sorted(LANGUAGES))
@settings(deadline=None)
@given(
    value=st.integers(min_value=-(10**12), max_value=10**12),
    separator=st.sampled_from(["", ",", " ", "\u00a0", "\u202f", "\u2009", "."]),
    indian=st.booleans(),
    native=st.booleans(),
)
def test_integers_survive_digits_and_separators(
    code: str, value: int, separator: str, indian: bool, native: bool
) -> None:
    lang = LANGUAGES[code]
    written = _groups(str(abs(value)), separator, indian and separator == ",")
    if separator == "." and lang.decimal_mark == "." and written.count(".") == 1:
        written = str(abs(value))  # that is a decimal number in this language
    if native:
        written = written.translate(str.maketrans("0123456789", lang.digits))
    sign = "-" if value < 0 else ""
    assert last_number(f"x 7 = {sign}{written}.", lang.decimal_mark) == value
