"""Letters: one spelling for those that can be written in two ways, and lines that have none.

Owns what Unicode knows of letters and its NFC leaves open, and which characters are no letters but
commands to a terminal. Knows no language and no benchmark.
"""

import re
import unicodedata

# Thai and Lao sara am has only a compatibility decomposition, which NFC does not undo; a tone mark
# stands before it, or within its two parts.
_SARA_AM = re.compile(
    "([\u0e48-\u0e4b\u0ec8-\u0ecb]?)[\u0e4d\u0ecd]([\u0e48-\u0e4b\u0ec8-\u0ecb]?)([\u0e32\u0eb2])"
)


_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Return a text that can be printed: what commands a terminal as its escape, such as `\x1b`.

    Those are control characters but for tab and newline, those that turn a line's direction, and
    halves of surrogate pairs, which no output takes.
    """
    return _COMMANDS.sub(lambda found: ascii(found[0])[1:-1], text)


def composed(text: str) -> str:
    """Return a text with every letter in its one composed spelling: NFC, and Thai's sara am."""
    text = unicodedata.normalize("NFC", text)
    return _SARA_AM.sub(lambda m: m[1] + m[2] + chr(ord(m[3]) + 1), text)


def has_letter(text: str) -> bool:
    """Tell whether a text has a letter of any script; digits, signs and marks are none."""
    return any(map(str.isalpha, text))


def whole(text: str) -> str:
    """Return a text that UTF-8 can hold: surrogates join, and a lone one becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
