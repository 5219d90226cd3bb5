"""What is hidden of a text, and what is not."""

from __future__ import annotations

import pytest

from search.errors import CheckpointError, SearchError, StudyError
from search.masking import hide_named, masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://***@host/db"),
        ("https://token@hub.org/x", "https://***@hub.org/x"),
        ("at http://127.0.0.1:5000", "at http://127.0.0.1:5000"),
        ("s3://bucket/runs?x=1", "s3://bucket/runs?x=1"),
        ("password=hunter2, user=me", "password=***, user=me"),
        ("AWS_SECRET_ACCESS_KEY=abc", "AWS_SECRET_ACCESS_KEY=***"),
        ("hf_token=abc", "hf_token=***"),
        ("bos_token=<s> max_tokens=96", "bos_token=<s> max_tokens=96"),
        ("https://h/p?key=abc&page=2", "https://h/p?key=***&page=2"),
    ],
)
def test_secrets_are_hidden_and_nothing_else(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert masked(shown) == shown


def test_named_values_are_hidden_without_an_address() -> None:
    assert hide_named("api_key=1") == "api_key=***" and hide_named("key=1") == "key=1"


@pytest.mark.parametrize("kind", [SearchError, CheckpointError, StudyError])
def test_no_error_shows_a_password(kind: type[SearchError]) -> None:
    assert str(kind("at mysql://u:p@h/d")) == "at mysql://***@h/d"
