"""Templates and tokenizers of others are programs: those without an end are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from objectives import apart
from objectives.types import Message
from search.checkpoints import tokenizer
from search.common.errors import CheckpointError, ConfigError
from search.run.chat import check_chat
from search.run.prompt_lengths import counter
from tests.families import tokenizer as of_tests

TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
FILE = "tokenizer.json"
ASKED = (Message("user", "1 + 1?"),)
LOOP = "{% for i in range(99999) %}{% for i in range(99999) %}{% endfor %}{% endfor %}"
STEPS = {"type": "Split", "pattern": {"Regex": "a*a*a*a*a*c"}, "behavior": "Isolated"}
HOSTILE: dict[str, dict[str, Any]] = {
    "splits": {
        "normalizer": {"type": "Prepend", "prepend": "a" * 85},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [STEPS | {"invert": False}] * 5_000},
    },
    "one expression": {
        "normalizer": {"type": "Prepend", "prepend": "a" * 70},
        "pre_tokenizer": STEPS | {"pattern": {"Regex": "(a+)+c"}, "invert": False},
    },
    "doubled": {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Replace", "pattern": {"Regex": "."}, "content": "aa" * 50},
            ]
            * 9,
        },
    },
}
"""Name -> parts of a tokenizer.json."""


def folder(where: Path, **parts: Any) -> Path:
    of_tests().save_pretrained(where)
    file = where / FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | parts))
    return where


@pytest.mark.slow
def test_chat_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(tmp_path)
    (place / "chat_template.jinja").write_text(TURNS)
    assert check_chat([ASKED], place, {}, 0) == []  # all is imported now
    monkeypatch.setattr(apart, "SECONDS", 2)
    (place / "chat_template.jinja").write_text(LOOP + TURNS)
    with pytest.raises(ConfigError, match="template in .* does not come to an end within 2 s"):
        check_chat([ASKED], place, {}, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_tokenizers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "SECONDS", 0.5)  # each would take many on any machine
    count = counter(folder(tmp_path, **HOSTILE[name]), None)
    assert count is not None
    with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be (used|read)"):
        count(["how many bad cases?" * 9])


def test_parts_that_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "SECONDS", 2)
    base, *others = (
        tokenizer.parse(FILE, (folder(tmp_path / str(n), **parts) / FILE).read_bytes())
        for n, parts in enumerate([{}, *HOSTILE.values()])
    )
    for other in others:
        assert tokenizer.difference(base, other).faults
