"""What is hidden of a text, and what is not."""

from __future__ import annotations

import pytest

from search.errors import CheckpointError, SearchError, StudyError
from search.masking import hide_named, masked
from search.values import short


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


PW = "hunter2"
SHAPES = [
    # users and passwords of addresses
    "postgresql://me:hunter2@host/db",
    "postgresql://me:hunter2@host:5432/db?application_name=a@b",
    "mysql+pymysql://me:hun/hunter2@host/db",
    "http://me:p@hunter2@host:5000/x",
    "http://me:a hunter2@host/x",
    "http://me:a,hunter2;b')c@host/x",
    "http://me:a#hunter2@host/x",
    "http://me:a?hunter2@host/x",
    "https://hunter2@hub.org/x",
    "https://:hunter2@[::1]:5000/x",
    "//me:hunter2@host/x",
    "redirect=https%3A%2F%2Fme%3Ahunter2%40host%2Fx",
    "two: http://a:1@h/x and http://me:hunter2@h/y",
    # queries and fragments
    "postgresql://host/db?user=me&password=hunter2",
    "postgresql://host/db?sslpassword=hunter2&sslmode=require",
    "postgresql://host/db?pass%77ord=hunter2",
    "postgresql://host/db?password=a hunter2&user=me",
    "postgresql://host/db?password=a,hunter2;b')c&user=me",
    "https://h/x?key=hunter2&page=2",
    "https://h/x?a=1&sig=hunter2",
    "https://h/x?subscription-key=hunter2",
    "https://h/x?access%5Ftoken=hunter2",
    "https://h/x#access_token=hunter2&state=1",
    "https://h/x?X-Amz-Signature=hunter2&X-Amz-Date=1",
    "next=https%3A%2F%2Fh%2Fx%3Faccess_token%3Dhunter2",
    # names and values in text
    "password=hunter2, user=me",
    "password = hunter2",
    "host=h password='a hunter2' user=me",
    "password=a\\ hunter2 user=me",
    "AWS_SECRET_ACCESS_KEY=hunter2",
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hunter2==;EndpointSuffix=core",
    "SharedAccessSignature=sv=1&sig=hunter2",
    "export HF_TOKEN=hunter2",
    "mlflow --tracking-password hunter2 --port 5000",
    "Settings(user='me', api_key='hunter2', n=3)",
    # JSON, cut off and in itself
    '{"user": "me", "password": "hunter2"}',
    '{"client_secret":"a\\"hunter2"}',
    '{"body": "{\\"token\\": \\"hunter2\\"}"}',
    "{'access_token': 'hunter2'}",
    '{"private_key": "a hunter2',
    # headers
    "Authorization: Bearer hunter2",
    "Authorization: Basic aHVu hunter2",
    "{'Authorization': 'Digest username=me, response=hunter2'}",
    'curl -H "X-Api-Key: hunter2" https://h',
    "Ocp-Apim-Subscription-Key: hunter2",
    "Cookie: session=hunter2; theme=dark",
    "sent Bearer hunter2hunter2",
    # tokens by their looks
    "401 for hf_hunter2hunter2hunter2hunter2hunter2",
    "ghp_hunter2hunter2hunter2hunter2 is no longer valid",
    "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
]
"""Ways to write a secret, which is hunter2 in all of them."""


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
