"""What is hidden of a text, and what is not."""

from __future__ import annotations

import pytest

from search.common.errors import CheckpointError, SearchError, StudyError
from search.common.masking import hide_named, masked
from search.common.values import short
from tests.secret_shapes import PW, SHAPES


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


@pytest.mark.parametrize("text", SHAPES)
def test_no_secret_survives(text: str) -> None:
    assert PW in text and PW not in masked(text)
    assert masked(masked(text)) == masked(text)
    assert PW not in str(StudyError(f"it is at {text}"))
    assert PW not in str(StudyError(repr([text])))


@pytest.mark.parametrize("text", SHAPES)
@pytest.mark.parametrize("length", [20, 30, 40])
def test_a_text_is_masked_before_it_is_cut(text: str, length: int) -> None:
    """Cut first, half an address shows a password that nothing tells from a host any more."""
    assert "hunter" not in short(text, length)


@pytest.mark.parametrize(
    "text",
    [
        '{"key": "3f2a", "split": "search", "number": 3}',
        "unexpected token: ]",
        "signature: (a, b)",
        '"bos_token": "<s>", "pad_token": null, "tokenizer": "x"',
        "put the password into the environment variable OPTUNA_STORAGE_PASSWORD",
        "n_tokens: 3, max_tokens=96, key=value",
        "see https://h/x?page=2&lang=te#top, or s3://bucket/a@b",
        "https://h:5000/a and me@example.org",
        "a monkey: yes; turkey=1; hf_transformers",
        "sqlite:////out/mlflow.db",
    ],
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert masked(text) == text


def test_named_values_are_hidden_without_an_address() -> None:
    assert hide_named("api_key=1") == "api_key=***" and hide_named("key=1") == "key=1"


@pytest.mark.parametrize("kind", [SearchError, CheckpointError, StudyError])
def test_no_error_shows_a_password(kind: type[SearchError]) -> None:
    assert str(kind("at mysql://u:p@h/d")) == "at mysql://***@h/d"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:pw@host:5000/x", "http://***@host:5000/x"),
        ("postgresql://u:p%40w@db/mlflow", "postgresql://***@db/mlflow"),
        ("failed at https://u:pw@h/api?a=1: refused", "failed at https://***@h/api?a=1: refused"),
        ("mysql://h/db?user=me&password=pw&x=1", "mysql://h/db?user=me&password=***&x=1"),
        ("sqlite:////out/mlflow.db", "sqlite:////out/mlflow.db"),
        ("http://host/a@b", "http://host/a@b"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("http://me:p@ss@host:5000/x", "http://***@host:5000/x"),
        ("http://me:p/ss@host/x", "http://***@host/x"),
        ("https://hf_abc@host/x", "https://***@host/x"),
        ("http://h/?access_token=pw&x=1", "http://h/?access_token=***&x=1"),
        ("http://h/?API_KEY=pw", "http://h/?API_KEY=***"),
        ("s3://b/r?X-Amz-Security-Token=pw&sig=pw", "s3://b/r?X-Amz-Security-Token=***&sig=***"),
        ("max_num_batched_tokens=2048 < 4096", "max_num_batched_tokens=2048 < 4096"),
        ("tokenizer=gpt2, eos_token=</s>, key=value", "tokenizer=gpt2, eos_token=</s>, key=value"),
        ("postgresql://me:***@host/db", "postgresql://me:***@host/db"),
        ("http://[::1]:5000/a@b", "http://[::1]:5000/a@b"),
    ],
)
def test_passwords_are_masked(text: str, shown: str) -> None:
    assert str(StudyError(text)) == shown  # whatever an error quotes
    assert masked(text) == shown
