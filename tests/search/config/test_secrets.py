"""The password of `search.storage`: left out of what is written, put back from the environment."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.engine import make_url

from search.common.errors import ConfigError
from search.config import compose
from search.config.schema import SearchConfig
from search.config.secrets import STORAGE_PASSWORD, Database, with_password, without_password


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("postgresql://me:pw@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:p%40w%2Fx@host:5432/db", "postgresql://me:***@host:5432/db"),
        (
            "postgresql://me:pw@host/db?application_name=a@b",
            "postgresql://me:***@host/db?application_name=a%40b",
        ),
        ("postgresql://me:***@host/db?x=a@b", "postgresql://me:***@host/db?x=a@b"),
        ("postgresql://host/db?pass%77ord=p,w;')&x=1", "postgresql://host/db?password=***&x=1"),
        ("postgresql://me:a b@host/db", "postgresql://me:***@host/db"),
        ("mysql+pymysql://me:***@host/db", "mysql+pymysql://me:***@host/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://host/db?password=pw", "postgresql://host/db?password=***"),
        ("sqlite:///a/b.db", "sqlite:///a/b.db"),
    ],
)
def test_what_is_kept_has_no_password(url: str, kept: str) -> None:
    assert without_password(url) == kept


def test_the_environment_has_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORAGE_PASSWORD, "p@w/x")
    assert with_password("postgresql://me:***@host/db") == "postgresql://me:p%40w%2Fx@host/db"
    asked = with_password("postgresql://me:***@host/db?application_name=a@b")
    assert make_url(asked).host == "host" and make_url(asked).password == "p@w/x"
    assert make_url(with_password("postgresql://h/db?password=***")).query["password"] == "p@w/x"
    assert with_password("sqlite:///a.db") == "sqlite:///a.db"
    assert with_password("sqlite:///***.db") == "sqlite:///***.db"  # a file's name
    monkeypatch.delenv(STORAGE_PASSWORD)
    with pytest.raises(ConfigError, match=r"me:\*\*\*@host/db: its password .*" + STORAGE_PASSWORD):
        with_password("postgresql://me:***@host/db")


@pytest.mark.parametrize(
    "url", ["redis://host", "postgresql:host", "study.db", "postgresql://h:x/d", ""]
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="write sqlite:///FILE, postgresql://USER"):
        TypeAdapter(Database).validate_python(url)


@pytest.mark.parametrize("url", ["postgresql://me:p@w/x@host/db", "mysql://me:p@w/x:y@host:5/db"])
def test_a_password_that_is_not_encoded_is_refused(url: str) -> None:
    """Its driver would ask `w`, and what follows would be kept as the database's name."""
    with pytest.raises(ConfigError, match=r"write %40 for @") as caught:
        compose.load([f"search.storage={url}"], {"lang": "te"})
    assert "w/x" not in str(caught.value)


def test_a_configuration_uses_the_password_and_does_not_write_it() -> None:
    config = SearchConfig(storage="postgresql://me:pw@host/db")
    assert config.storage == "postgresql://me:pw@host/db"
    assert config.model_dump()["storage"] == "postgresql://me:***@host/db"
    assert "pw" not in config.model_dump_json()
