r"""Numbers in running text, whatever the digits and separators.

Owns the reading of "১২,৩৪,৫৬৭", "2.125" (German), "$1,234.50" or "72, in total". Knows no language
but through its decimal mark, and no benchmark.

The traps this guards against: `[\d,]+` takes a lone comma for a number and loses "72, in total"
(stanford-crfm/helm#4337); `[0-9]` sees only Western digits; "5-3" holds no minus three.
"""

import re
from collections.abc import Iterator
from decimal import Decimal

# \d is every decimal digit of Unicode (category Nd). A space joins only groups of exactly three
# digits; the full-width comma is also a clause comma in Chinese and joins only full-width digits.
_SPACES = " \u00a0\u2009\u202f"
_NUMBER = re.compile(
    r"(?P<sign>[-\u2212\uff0d])?[$€£¥₹৳฿₽￥＄]?"
    r"(?P<body>\d+(?:(?:[.,'’٬٫．]|\{,\}"
    rf"|[{_SPACES}](?=\d{{3}}(?!\d))"
    r"|(?<=[０-９])，(?=[０-９]{3}(?![０-９]))"
    r")\d+)*)"
)
_SEPARATOR = re.compile(rf"\{{,\}}|[.,'’٬٫．，{_SPACES}]")
_SAME = {"{,}": ",", "，": ",", "．": ".", "’": "'"} | dict.fromkeys(_SPACES, " ")


def numbers(text: str, decimal_mark: str = ".") -> Iterator[Decimal]:
    """Yield the numbers of a text from left to right.

    Args:
        text: any text.
        decimal_mark: "." or ",": what stands before decimals in the text's language. It matters
            only for a dot with exactly three digits after it: "2.125" is 2125 where the decimal
            mark is a comma. A comma with exactly three digits after it is a thousands separator
            everywhere.
    """
    for match in _NUMBER.finditer(text):
        values = list(_read(match["body"], decimal_mark))
        if match["sign"] and _is_sign(text, match.start()):
            values[0] = values[0].copy_negate()
        yield from values


def last_number(text: str, decimal_mark: str = ".") -> Decimal | None:
    """Return the last number of a text, or None when it has none. See `numbers`."""
    found = list(numbers(text, decimal_mark))
    return found[-1] if found else None


def as_number(text: str, decimal_mark: str = ".") -> Decimal | None:
    """Return the number that is all of the text, or None when there is more, less or none."""
    found = list(numbers(text, decimal_mark))
    return found[0] if len(found) == 1 and _NUMBER.fullmatch(text.strip()) else None


def plain(number: Decimal) -> str:
    """Write a number without separators, exponent or needless zeros: 18.00 -> "18"."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


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
    marks = [_SAME.get(mark, mark) for mark in _SEPARATOR.findall(body)]
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
