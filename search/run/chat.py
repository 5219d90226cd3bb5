"""Does the model's chat template write the prompts? Asked before an engine starts.

Owns the answer and its words; how a conversation becomes text is `search.engine.decode`'s. Opens
the base model's tokenizer as vLLM does, without code of its repository. A template is a program: it
runs in a process apart, with limits of time and memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from objectives import apart
from objectives.types import Message, Prompt
from search.checkpoints.files import read_by_others
from search.common.errors import CheckpointError, ConfigError
from search.engine.decode import chat_text


def check_chat(
    conversations: Iterable[tuple[Message, ...]],
    folder: Path,
    settings: Mapping[str, Any],
    thinking_tokens: int,
) -> list[str]:
    """Write conversations by the template in the base model's folder.

    Args:
        conversations: one of each kind that an objective asks.
        folder: of the base model.
        settings: values for the template, `objective.chat_template_kwargs`.
        thinking_tokens: how much a model may think, `objective.thinking_tokens`.

    Returns:
        A warning for each value that the template does not know, and where the model may think
        without room for it.

    Raises:
        ConfigError: the tokenizer has no template, or its template refuses a conversation or leaves
            a turn out.
        CheckpointError: the tokenizer cannot be opened.
    """
    turns = as_json(conversations)
    try:
        found: list[str] = apart.call(
            _check,
            turns,
            str(folder),
            settings,
            thinking_tokens,
            kinds=(ConfigError, CheckpointError),
        )
    except apart.ApartError as error:
        raise ConfigError(
            f"objective.chat: tokenizer and chat template in {folder} cannot be used: {error}"
        ) from None
    return found


def as_json(conversations: Iterable[Prompt]) -> list[Any]:
    """Prompts as they go to another process: a text, or role and content of each turn."""
    return [
        each if isinstance(each, str) else [[turn.role, turn.content] for turn in each]
        for each in conversations
    ]


def from_json(prompts: Iterable[Any]) -> list[Prompt]:
    """The inverse of `as_json`."""
    return [
        each if isinstance(each, str) else tuple(Message(*turn) for turn in each)
        for each in prompts
    ]


def _check(
    prompts: list[Any], place: str, settings: Mapping[str, Any], thinking_tokens: int
) -> list[str]:
    """What `check_chat` returns and raises, there."""
    folder = Path(place)
    conversations = [each for each in from_json(prompts) if not isinstance(each, str)]
    tokenizer = open_tokenizer(folder)
    if not tokenizer.chat_template:
        raise ConfigError(
            f"objective.chat: the tokenizer in {folder} has no chat template; leave "
            "--chat out, or put the instruction-tuned model's chat_template.jinja there"
        )
    try:
        texts = [chat_text(turns, tokenizer, settings) for turns in conversations]
    except ValueError as error:
        raise ConfigError(
            f"objective.chat: {error} (tokenizer in {folder}). Leave --chat out, set "
            "objective.chat_template_kwargs, or ask without shots"
        ) from None
    template = str(tokenizer.get_chat_template())
    warnings = [
        f"objective.chat_template_kwargs.{name}: the chat template in {folder} knows no {name}"
        for name in settings
        if not re.search(rf"\b{re.escape(name)}\b", template)
    ]
    opens = [text for text in texts if "</think>" not in text[-_END:]]
    if "<think>" in template and opens and not thinking_tokens:
        warnings.append(
            "the chat template knows <think>: a model that thinks before it answers needs room, "
            "set objective.thinking_tokens, or objective.chat_template_kwargs.enable_thinking=false"
        )
    return warnings


def open_tokenizer(folder: Path) -> Any:
    """The base model's tokenizer with its chat template.

    Raises:
        CheckpointError: it cannot be opened.
    """
    from transformers import AutoTokenizer

    with read_by_others(f"objective.chat: the tokenizer in {folder}"):
        return AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )


_END = 40
"""Characters at the end of a prompt that hold its empty thoughts, where the model has none."""
