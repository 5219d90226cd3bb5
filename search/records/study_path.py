"""Where studies are: a folder, or the address of one in an object store.

Owns what a user may write for it, and which names a study may have. Opens nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from search.common.errors import ConfigError

_ADDRESS = re.compile(r"(?P<protocol>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,99}")


@dataclass(frozen=True)
class Url:
    """Address of a folder in an object store, such as s3://bucket/runs; joined like a path."""

    text: str

    def __truediv__(self, name: str) -> Url:
        return Url(f"{self.text}/{name}")

    def __str__(self) -> str:
        return self.text

    @property
    def parent(self) -> Url:
        """The folder that it is in; of a bucket the bucket."""
        above = self.text.rpartition("/")[0]
        return self if above.endswith("/") else Url(above)

    @property
    def name(self) -> str:
        """Its last part."""
        return self.text.rpartition("/")[2]


StudyPath = Path | Url


def locate(text: str | Path) -> StudyPath:
    """A folder's path or an object store's address, as a user wrote it.

    Raises:
        ConfigError: an address that holds a password, a query or a name that is no folder's.
    """
    found = _ADDRESS.fullmatch(str(text))
    if found is None:
        return Path(text)
    protocol = found["protocol"].lower()
    if protocol in ("file", "local"):
        return Path(found["rest"])
    rest = found["rest"].rstrip("/")
    if "@" in rest:
        raise ConfigError(
            f"{protocol}://***@{rest.rpartition('@')[2]}: leave name and password out of "
            "the address, which is written into logs; the store's package takes them from the "
            "environment (AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, ...)"
        )
    wrong = [part for part in rest.split("/") if part in ("", ".", "..")]
    if wrong or re.search(r"[\s?*#\[\]\\]|::", rest):
        raise ConfigError(f"{text} is not an address of a folder, such as s3://bucket/runs/study")
    return Url(f"{protocol}://{rest}")


def check_name(name: str) -> None:
    """Refuse a study's name that could lead out of its folder, or that a shell would split.

    Raises:
        ConfigError: saying which names are taken.
    """
    if not is_name(name):
        raise ConfigError(
            f"{name!r} cannot be a study's name: write up to 100 of A-Z a-z 0-9 . _ + = -, the "
            "first a letter, digit or _; name it with --study"
        )


def is_name(name: str) -> bool:
    """Whether a text is one plain file name: no separator, no `..`, nothing hidden."""
    return bool(_NAME.fullmatch(name))
