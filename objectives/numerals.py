r"""Numbers in running text, whatever the digits, separators and myriads.

Owns the reading of "১২,৩৪,৫৬৭", "2.125" (German), "$1,234.50", "1\,200" (LaTeX), "1万2000" or "72,
in total". Knows no language but through its decimal mark, and no benchmark.

The traps this guards against: `[\d,]+` takes a lone comma for a number and loses "72, in total"
(stanford-crfm/helm#4337); `[0-9]` sees only Western digits; "5-3" holds no minus three; "5千克" are
five kilograms.
"""

import decimal
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

# \d is every decimal digit of Unicode (category Nd). A space, LaTeX's as well, joins only groups of
# exactly three digits; the full-width comma is also a clause comma in Chinese and joins only
# full-width digits. LaTeX's negative space, \!, may stand beside any mark and means nothing.
_SPACE = (
    r"(?:[ \u00a0\u2004-\u200a\u202f\u205f]"
    r"|\{?\\(?:[,:;>! ]|(?:thin|med|thick|nobreak)space(?:\{\}| )?)\}?)"
)
_MARK = r"(?:\\!)*(?:[.,'’٬٫．]|\{[.,]\})(?:\\!)*"
_BODY = (
    rf"\d+(?:(?:{_MARK}|{_SPACE}(?=\d{{3}}(?!\d))"
    r"|(?<=[０-９])，(?=[０-９]{3}(?![０-９])))\d+)*"
)
_SEPARATOR = re.compile(rf"{_SPACE}(?=\d)|{_MARK}|，")
_SPACE_ALONE = re.compile(_SPACE)
_SAME = {"，": ",", "．": ".", "’": "'"}

# What Chinese and Japanese write after digits: powers of ten, but not where they begin a measure
# (千克 is a kilogram) or a percentage point (百分点).
_SMALL = dict.fromkeys("十拾", 1) | dict.fromkeys("百佰", 2) | dict.fromkeys("千仟", 3)
_LARGE = dict.fromkeys("万萬", 4) | dict.fromkeys("亿億", 8) | {"兆": 12}
UNITS = "".join((*_SMALL, *_LARGE))
"""Characters that multiply the digits before them."""
_MEASURE = "字节|比特|位元|[瓦焦帕赫伏欧]"
_UNITS = (
    rf"(?:[千仟](?!{_MEASURE}|[克卡安牛]|米(?!ドル)|兆(?:{_MEASURE}))"
    r"|[百佰](?!分[点點比之率]|帕)"
    r"|[十拾](?![字月一二三四五六七八九]))?"
    rf"(?:[万萬]?[亿億]|[万萬]|兆(?!{_MEASURE}))?"
)
_TERM = re.compile(rf"(?P<body>{_BODY})(?: ?(?=[{UNITS}])(?P<units>{_UNITS}))?")
_BEFORE = re.compile(r"(?P<sign>[-\u2212\uff0d])?(?:\\?[$€£¥₹৳฿₽￥＄])?\Z")
_LONGEST_BEFORE = 3
_EXACT = decimal.Context(decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)


class _Term(NamedTuple):
    """Digits and the powers of ten that they are multiplied by: 2千, 5百万, 3000."""

    values: list[Decimal]
    small: int
    large: int
    digits: int
    end: int

    @classmethod
    def of(cls, match: re.Match[str], decimal_mark: str) -> "_Term":
        """What a match of `_TERM` says."""
        body, units = match["body"], match["units"] or ""
        return cls(
            values=list(_read(body, decimal_mark)),
            small=sum(_SMALL.get(unit, 0) for unit in units),
            large=sum(_LARGE.get(unit, 0) for unit in units),
            digits=sum(map(str.isdigit, body)),
            end=match.end("units") if units else match.end("body"),
        )


def numbers(text: str, decimal_mark: str = ".") -> Iterator[Decimal]:
    """Yield the numbers of a text from left to right.

    Args:
        text: any text.
        decimal_mark: "." or ",": what stands before decimals in the text's language. It matters
            only for a dot with exactly three digits after it: "2.125" is 2125 where the decimal
            mark is a comma. A comma with exactly three digits after it is a thousands separator
            everywhere.
    """
    yield from (number for number, _ in _spans(text, decimal_mark))


def last_number(text: str, decimal_mark: str = ".") -> Decimal | None:
    """Return the last number of a text, or None when it has none. See `numbers`."""
    found = list(numbers(text, decimal_mark))
    return found[-1] if found else None


def as_number(text: str, decimal_mark: str = ".") -> Decimal | None:
    """Return the number that is all of the text, or None when there is more, less or none."""
    text = text.strip()
    found = list(_spans(text, decimal_mark))
    return found[0][0] if len(found) == 1 and found[0][1] == (0, len(text)) else None


def plain(number: Decimal) -> str:
    """Write a number without separators, exponent or needless zeros: 18.00 -> "18"."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _spans(text: str, decimal_mark: str) -> Iterator[tuple[Decimal, tuple[int, int]]]:
    """Yield the numbers of a text, each with where it stands, its sign and currency included."""
    end = 0
    while match := _TERM.search(text, end):
        first = match.start()
        before = _BEFORE.search(text, max(end, first - _LONGEST_BEFORE), first)
        assert before is not None  # it may match nothing
        values, end = _chain(text, _Term.of(match, decimal_mark), decimal_mark)
        if before["sign"] and _is_sign(text, before.start()):
            values[0] = values[0].copy_negate()
        yield from ((value, (before.start(), end)) for value in values)


def _chain(text: str, term: _Term, decimal_mark: str) -> tuple[list[Decimal], int]:
    """Add the terms that belong to the first one: 1万2千, 3億5000万, 2千5百万.

    Each is worth less than the unit before it, and only the last has decimals: "2.5万3000" and
    "7万 12" are two numbers each.

    Returns:
        The values up to the end of the last term, and that end.
    """
    *others, value = term.values
    total, section = Decimal(0), value
    section = _EXACT.scaleb(value, term.small)
    highest = None  # power of the last unit of ten thousands
    while True:
        unit = term.large or term.small
        if term.large:
            total = _EXACT.add(total, _EXACT.scaleb(section, term.large))
            section, highest = Decimal(0), term.large
        following = _following(text, term, decimal_mark) if unit else None
        if following is None:
            return [*others, _EXACT.add(total, section)], term.end
        added = _EXACT.scaleb(following.values[0], following.small)
        larger = _EXACT.scaleb(_EXACT.add(section, added), following.large)
        if added >= 10**unit or (highest is not None and larger >= 10**highest):
            return [*others, _EXACT.add(total, section)], term.end
        section, term = _EXACT.add(section, added), following


def _following(text: str, term: _Term, decimal_mark: str) -> _Term | None:
    """The term that follows without a gap, or after a space if it is plainly a part."""
    gap = text[term.end : term.end + 1] == " "
    match = _TERM.match(text, term.end + gap)
    if match is None or term.values[-1].as_tuple().exponent != 0:
        return None
    found = _Term.of(match, decimal_mark)
    plain_part = found.small or found.large or found.digits == (term.large or term.small)
    return found if len(found.values) == 1 and (plain_part or not gap) else None


def _mark(separator: str) -> str:
    """The one spelling of a separator: LaTeX's braces and negative spaces mean nothing."""
    if _SPACE_ALONE.fullmatch(separator):
        return " "
    mark = separator.replace("\\!", "").strip("{}")
    return _SAME.get(mark, mark)


def _is_sign(text: str, position: int) -> bool:
    """Tell a minus sign from a subtraction ("20-12", "x-5") or a hyphen ("covid-19")."""
    before = text[position - 1 : position]
    is_cased_letter = before.lower() != before.upper()
    return not (before.isdigit() or before in (")", "]") or is_cased_letter)


def _read(body: str, decimal_mark: str) -> Iterator[Decimal]:
    """Yield the value of digit groups that separators join, or of each group if they do not.

    Decimal reads the digits of any script and, unlike int, has no limit on their number: a merge
    may well write ten thousand digits in a row.
    """
    groups = _SEPARATOR.split(body)
    marks = list(map(_mark, _SEPARATOR.findall(body)))
    last = marks[-1] if marks else ""
    if not marks:
        yield Decimal(body)
    elif len(set(marks)) == 1 and _is_grouping(groups, last, decimal_mark):
        yield Decimal("".join(groups))
    elif last in (".", ",", "٫") and (
        len(marks) == 1
        or (len(set(marks[:-1])) == 1 and last not in marks[:-1] and _sizes_fit(groups[:-1]))
    ):
        yield Decimal(f"{''.join(groups[:-1])}.{groups[-1]}")
    else:  # a list or a date: "1,2,3", "24.12.2024"
        yield from (Decimal(group) for group in groups)


def _is_grouping(groups: list[str], mark: str, decimal_mark: str) -> bool:
    """Tell whether equal marks between the groups are thousands separators."""
    if mark == "٫" or not _sizes_fit(groups) or int(groups[0]) == 0:
        return False
    return not (mark == "." and len(groups) == 2 and decimal_mark == ".")


def _sizes_fit(groups: list[str]) -> bool:
    """Tell whether group sizes are those of 1,234,567 or, in Indian grouping, 12,34,567."""
    first, middle, last = len(groups[0]), {len(group) for group in groups[1:-1]}, len(groups[-1])
    return last == 3 and ((first <= 3 and middle <= {3}) or (first <= 2 and middle == {2}))
