"""The password in a database's address: not kept, and put back from the environment.

Owns that address in a configuration. What is a secret in any text is `search.masking`'s; knows
nothing of who connects to what.
"""

from __future__ import annotations

import os
import re
from typing import Annotated
from urllib.parse import quote

from pydantic import AfterValidator, Field, PlainSerializer

from search.errors import ConfigError
from search.masking import HIDDEN, hide_named

STORAGE_PASSWORD = "OPTUNA_STORAGE_PASSWORD"
"""Environment variable that holds the password of `search.storage` where that says ***."""


def without_password(url: str) -> str:
    """A database's address with *** for its password, so that it can be kept."""
    url = re.sub(r"(//[^/\s:@]*):[^\s]*@", rf"\1:{HIDDEN}@", url)
    return hide_named(url)


def with_password(url: str) -> str:
    """The inverse of `without_password`, with the password that the environment holds.

    Raises:
        ConfigError: the environment has none.
    """
    if HIDDEN not in url:
        return url
    password = os.environ.get(STORAGE_PASSWORD)
    if not password:
        raise ConfigError(
            f"search.storage = {url}: its password is not kept with the study; put it into the "
            f"environment variable {STORAGE_PASSWORD}"
        )
    return url.replace(HIDDEN, quote(password, safe=""))


def _checked(url: str) -> str:
    if not re.fullmatch(r"(sqlite|postgresql|mysql)(\+\w+)?://.+", url):
        raise ValueError(
            "write sqlite:///FILE, postgresql://USER:***@HOST/DATABASE or mysql://..., or leave it "
            "out for a file in the study's folder"
        )
    return url


Database = Annotated[
    str,
    AfterValidator(_checked),
    PlainSerializer(without_password),
    Field(json_schema_extra={"format": "database's address"}),
]
"""A database's address: in memory with its password, in everything that is written without."""
