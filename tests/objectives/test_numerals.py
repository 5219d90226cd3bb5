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
        ("9" * 5000 + "万", "9" * 5000 + "0000"),  # nothing is rounded
        (r"1\,200", "1200"),  # LaTeX's thin spaces
        (r"$12\,345\,678.5$", "12345678.5"),
        (r"1,\!200", "1200"),
        (r"1\!,\!200", "1200"),
        (r"1{,}\!200", "1200"),
        (r"1{\,}200", "1200"),
        (r"1\ 200", "1200"),
        (r"1\thinspace 200", "1200"),
        (r"1\thinspace{}200", "1200"),
        (r"5\,300\,\text{km}", "5300"),
        (r"\$1\,200", "1200"),
        (r"-\$5", "-5"),
        ("1\u2007200", "1200"),  # a space as wide as a digit
        (r"f(1,\,200)", "200"),  # a comma with a space after it is a list
        (r"1\,20", "20"),
        (r"2024\,100", "100"),
        ("100~200", "200"),  # a range
        ("7万", "70000"),
        ("7 万美元", "70000"),
        ("７万円", "70000"),
        ("1,200万", "12000000"),
        ("1万2000", "12000"),
        ("1 万 2000 元", "12000"),
        ("1 万 2,000 元", "12000"),
        ("12万3,456円", "123456"),
        ("1萬5仟", "15000"),
        ("2.5万", "25000"),
        ("-2.5万", "-25000"),
        ("2千", "2000"),
        ("5百", "500"),
        ("2千5百3十4", "2534"),
        ("2千5百万", "25000000"),
        ("3億5000万", "350000000"),
        ("1億0500万", "105000000"),
        ("1.5万亿", "1500000000000"),
        ("2兆", "2000000000000"),
        ("1万20000", "20000"),  # more than the unit before it
        ("2.5万3000", "3000"),
        ("7 万 12 个月", "12"),
        ("2千2千", "2000"),
        ("1億20000万", "200000000"),
        ("5千克", "5"),  # kilograms
        ("5 千米", "5"),
        ("200千卡", "200"),
        ("3千瓦", "3"),
        ("5千米ドル", "5000"),  # in US dollars
        ("2百分点", "2"),
        ("1013百帕", "1013"),
        ("8兆字节", "8"),
        ("10月5日", "5"),
    ],
)
def test_last_number(text: str, expected: str) -> None:
    found = last_number(text)
    assert found is not None
    assert plain(found) == expected


@pytest.mark.parametrize("text", ["", ",", "no number", "., -", "五", "数万", r"\,", "万"])
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
    ("text", "ok"),
    [
        *(("2,125", True), ("12 cups", False), ("1,2", True), ("", False), (" -$5 ", True)),
        *(("1万2000", True), (r"1\,200", True), ("7万円", False), ("5千克", False), ("5 6", False)),
    ],
)
def test_as_number_wants_all_of_the_text(text: str, ok: bool) -> None:
    assert (as_number(text) is not None) == ok


COMMAS = (",", "{,}", r",\!", r"\!,\!", r"{,}\!")
LATEX = (r"\,", r"\;", r"\:", r"\ ", r"\!", r"{\,}", r"\thinspace ", *COMMAS)


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
    separator=st.sampled_from(["", ",", " ", "\u00a0", "\u202f", "\u2009", ".", *LATEX]),
    indian=st.booleans(),
    native=st.booleans(),
)
def test_integers_survive_digits_and_separators(
    code: str, value: int, separator: str, indian: bool, native: bool
) -> None:
    lang = LANGUAGES[code]
    written = _groups(str(abs(value)), separator, indian and separator in COMMAS)
    if separator == "." and lang.decimal_mark == "." and written.count(".") == 1:
        written = str(abs(value))  # that is a decimal number in this language
    if native:
        written = written.translate(str.maketrans("0123456789", lang.digits))
    sign = "-" if value < 0 else ""
    assert last_number(f"x 7 = {sign}{written}.", lang.decimal_mark) == value


def _myriads(value: int, large: str) -> str:
    """12,0034,5000 -> 12億34万5000: four digits to each of the units, largest first."""
    parts, units = [], ["", *large]
    while value:
        value, rest = divmod(value, 10_000)
        unit = units.pop(0)
        parts.insert(0, f"{rest}{unit}" if rest else "")
    return "".join(parts) or "0"


def _thousands(value: int, small: str) -> str:
    """2345 -> 2千3百4十5: a digit to each of the units."""
    digits = f"{value:04}"
    parts = [f"{d}{unit}" for d, unit in zip(digits, [*small, ""], strict=True) if d != "0"]
    return "".join(parts) or "0"


@settings(deadline=None)
@given(
    value=st.integers(min_value=-(10**16) + 1, max_value=10**16 - 1),
    large=st.sampled_from(["万億兆", "万亿兆", "萬億兆"]),
    native=st.booleans(),
    around=st.sampled_from(["{}", "答えは{}円です。", "答案是 {} 元。", "計{}、", "${}$"]),
)
def test_myriads_are_read_back(value: int, large: str, native: bool, around: str) -> None:
    written = _myriads(abs(value), large)
    if native:
        written = written.translate(str.maketrans("0123456789", LANGUAGES["ja"].digits))
    sign = "-" if value < 0 and "$" not in around else ""
    expected = abs(value) if not sign else value
    assert list(numbers(around.format(sign + written))) == [expected]


@given(st.integers(0, 9999), st.sampled_from(["千百十", "仟佰拾"]), st.sampled_from(["", "万"]))
def test_thousands_are_read_back(value: int, small: str, large: str) -> None:
    times = 10_000 if large and value else 1
    written = _thousands(value, small) + (large if value else "")
    assert list(numbers(f"全部で{written}個")) == [value * times]


@given(
    st.decimals(min_value=0, max_value=9999, places=2),
    st.sampled_from([("千", 3), ("万", 4), ("百万", 6), ("亿", 8), ("千亿", 11), ("万亿", 12)]),
)
def test_decimals_of_myriads_are_exact(value: Decimal, unit: tuple[str, int]) -> None:
    assert list(numbers(f"约{value}{unit[0]}人")) == [value.scaleb(unit[1])]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=5), st.sampled_from("個米克元年つ"))
def test_other_characters_multiply_nothing(values: list[int], counter: str) -> None:
    assert list(numbers("、".join(f"{value}{counter}" for value in values))) == values


@given(st.text("0123456789.,'， \\!{}-−$万億千百十克米", max_size=30))
def test_any_text_can_be_read(text: str) -> None:
    assert all(number.is_finite() for number in numbers(text))
