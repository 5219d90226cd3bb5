"""Chat templates that do not write the prompts end a study before its engines start."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from objectives.types import Message
from search.common.errors import CheckpointError, ConfigError
from search.run.chat import check_chat
from tests.families import tokenizer
from tests.search.run.setup import Setup

TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
THINKS = TURNS + "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
ASKED = (Message("user", "1 + 1?"), Message("assistant", "2"), Message("user", "2 + 2?"))
NO_ASSISTANT = (
    "{% if messages|length > 1 %}{{ raise_exception('one turn only') }}{% endif %}" + TURNS
)


def folder(where: Path, template: str | None) -> Path:
    tokenizer().save_pretrained(where)
    if template is not None:
        (where / "chat_template.jinja").write_text(template)
    return where


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "has no chat template; leave --chat out"),
        ("", "has no chat template; leave --chat out"),
        ("{# nothing #}", "leaves out turn 1 of 3"),
        (NO_ASSISTANT, r"refuses the turns: one turn only .*\. Leave --chat out, .* without shots"),
        ("{{ messages[-1].content }}", "leaves out turn 1 of 3, the user's"),
        ("{% for", "refuses the turns"),
    ],
)
def test_templates_that_are_refused(tmp_path: Path, template: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=f"objective.chat: .*{message}"):
        check_chat([ASKED], folder(tmp_path, template), {}, 0)


def test_a_conversation_that_the_template_takes(tmp_path: Path) -> None:
    assert check_chat([ASKED, ASKED[:1]], folder(tmp_path, TURNS), {}, 0) == []
    assert check_chat([ASKED[:1]], folder(tmp_path, NO_ASSISTANT), {}, 0) == []


def test_a_tokenizer_that_cannot_be_opened(tmp_path: Path) -> None:
    (folder(tmp_path, TURNS) / "tokenizer.json").write_text("[]")
    with pytest.raises(CheckpointError, match=f"objective.chat: the tokenizer in {tmp_path}"):
        check_chat([ASKED], tmp_path, {}, 0)


@pytest.mark.parametrize(
    ("kwargs", "thinking_tokens", "warned"),
    [
        ({}, 0, "the chat template knows <think>: .* set objective.thinking_tokens"),
        ({}, 100, ""),
        ({"enable_thinking": False}, 0, ""),
        ({"enable_thinking": True}, 0, "knows <think>"),
        ({"enable_thinkng": False}, 100, "chat_template_kwargs.enable_thinkng: .* knows no"),
    ],
)
def test_what_is_said_of_thinking(
    tmp_path: Path, kwargs: dict[str, bool], thinking_tokens: int, warned: str
) -> None:
    found = check_chat([ASKED], folder(tmp_path, THINKS), kwargs, thinking_tokens)
    assert len(found) == bool(warned)
    assert all(re.search(warned, warning) for warning in found)


def test_every_objective_is_asked_before_an_engine_starts(
    setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    base = Path(shutil.copytree(str(setup.family["base"]), setup.folder / "chatty"))
    setup.family["base"] = str(base)
    setup.more = ["objective.chat=true", "objective.chat_template_kwargs={words: 3}"]
    (base / "chat_template.jinja").write_text("{% if words == 3 %}" + TURNS + "{% endif %}")
    assert setup.prepared("other").warnings == []
    setup.more.append("objective.chat_template_kwargs.words=4")
    assert setup.main() == 2
    error = capsys.readouterr().err
    assert error.startswith("error: objective.chat: the model's chat template leaves out turn 1")
