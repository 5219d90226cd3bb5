"""The password in a database's address: not kept, and put back from the environment.

Owns that address in a configuration. What is a secret in any text is `search.common.masking`'s;
knows nothing of who connects to what.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, Field, PlainSerializer

from search.common.errors import ConfigError
from search.common.masking import HIDDEN, is_secret

STORAGE_PASSWORD = "OPTUNA_STORAGE_PASSWORD"
"""Environment variable that holds the password of `search.storage` where that says ***."""


def without_password(url: str) -> str:
    """A database's address with *** for its passwords, so that it can be kept.

    One that holds none stays as it is written.
    """
    return _with_secrets(url, lambda secret: HIDDEN)


def with_password(url: str) -> str:
    """The inverse of `without_password`, with the password that the environment holds.

    Raises:
        ConfigError: the environment has none.
    """

    def put_back(secret: str) -> str:
        if secret != HIDDEN:
            return secret
        password = os.environ.get(STORAGE_PASSWORD)
        if not password:
            raise ConfigError(
                f"search.storage = {url}: its password is not kept with the study; put it into "
                f"the environment variable {STORAGE_PASSWORD}"
            )
        return password

    return _with_secrets(url, put_back)


def _with_secrets(url: str, change: Callable[[str], str]) -> str:
    """The address with other secrets, taken apart and put together as its driver does it."""
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    query = {
        name: tuple(map(change, [value] if isinstance(value, str) else value))
        for name, value in parsed.query.items()
        if is_secret(name)
    }
    password = parsed.password and change(str(parsed.password))
    changed = parsed.set(password=password).update_query_dict(query)
    if changed == parsed:
        return url
    return changed.render_as_string(hide_password=False).replace("%2A%2A%2A", HIDDEN)


def _checked(url: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.get_backend_name() not in ("sqlite", "postgresql", "mysql"):
        raise ValueError(
            "write sqlite:///FILE, postgresql://USER:***@HOST/DATABASE or mysql://..., or leave it "
            "out for a file in the study's folder"
        )
    if parsed.get_backend_name() != "sqlite" and "@" in f"{parsed.host}{parsed.database}":
        raise ValueError(
            "an @ stands after the host: in a password write %40 for @, %2F for / and %3A for :, "
            f"or write *** for it and put it into {STORAGE_PASSWORD}"
        )
    return url


Database = Annotated[
    str,
    AfterValidator(_checked),
    PlainSerializer(without_password),
    Field(json_schema_extra={"format": "database's address"}),
]
"""A database's address: in memory with its password, in everything that is written without."""
