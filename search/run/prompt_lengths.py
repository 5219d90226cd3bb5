"""How long are the prompts, and does the model's context hold them? Asked before an engine starts.

Owns the answer and its words; that a prompt is cut is `search.engine.live`'s doing. A tokenizer's
expressions and a chat template may take for ever: they run in a process apart.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from objectives import apart
from objectives.types import Decoding, Objective, Prompt, Request, Split
from search.checkpoints.files import read_by_others
from search.common.errors import CheckpointError, ConfigError
from search.engine.budgets import context_length
from search.engine.decode import chat_text
from search.run.chat import as_json, from_json, open_tokenizer

SPLITS: tuple[Split, ...] = ("search", "held_out")
SPARE = 8
"""Tokens that vLLM's tokenizer may put before a prompt and the file alone does not say."""
STEP = 128
"""The context that an engine is given is a multiple of so many tokens."""
LETTERS_A_SECOND = 100_000
"""Fewer than any tokenizer reads on a busy core."""
_BY_LENGTH = ("dynamic", "longrope", "su")

Count = Callable[[Sequence[Prompt]], list[int]]
"""Tokens of each prompt."""


@dataclass(frozen=True)
class Lengths:
    """What the prompts need.

    Attributes:
        max_model_len: tokens of prompt and answer together that the engine is given; None leaves it
            to the checkpoint.
        warnings: one for each objective whose prompts are cut.
    """

    max_model_len: int | None
    warnings: tuple[str, ...] = ()


def asked(
    objectives: Mapping[str, Objective], decodings: Mapping[str, Sequence[Decoding]]
) -> dict[str, list[Request]]:
    """All that a study may ask: objective -> requests of both splits.

    Args:
        objectives: name -> objective.
        decodings: name of an objective -> those that a search may choose beside its own.
    """
    return {
        name: [
            request
            for decoding in (None, *decodings.get(name, ()))
            for split in SPLITS
            for request in objective.requests(split, decoding)
            if not request.rolling  # a text of any length is read in windows
        ]
        for name, objective in objectives.items()
    }


def counter(folder: Path, settings: Mapping[str, Any] | None) -> Count | None:
    """Counts prompts with the base model's tokenizer; None where it has no tokenizer.json.

    The count raises CheckpointError where the tokenizer cannot be used.

    Args:
        folder: of the base model.
        settings: values for its chat template; None where no prompt is a conversation.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None

    def count(prompts: Sequence[Prompt]) -> list[int]:
        letters = sum(len(str(prompt)) for prompt in prompts)
        limit = apart.SECONDS + letters / LETTERS_A_SECOND
        asked = (str(file), file.stat().st_mtime_ns, as_json(prompts), settings)
        try:
            found: list[int] = apart.call(_lengths, *asked, kinds=(CheckpointError,), seconds=limit)
        except apart.ApartError as error:
            raise CheckpointError(f"{file} cannot be used: on the prompts {error}") from None
        return found

    return count


def _lengths(
    file: str, changed: int, prompts: list[Any], settings: Mapping[str, Any] | None
) -> list[int]:
    """Tokens of each prompt, counted there."""
    tokenizer = _opened(file, changed)
    template = None if settings is None else open_tokenizer(Path(file).parent)

    def text(prompt: Prompt) -> str:
        return prompt if isinstance(prompt, str) else chat_text(prompt, template, settings or {})

    texts = list(map(text, from_json(prompts)))
    return [len(found.ids) for found in tokenizer.encode_batch(texts)]


@functools.lru_cache(1)
def _opened(file: str, changed: int) -> Any:
    from tokenizers import Tokenizer

    with read_by_others(file):
        return Tokenizer.from_file(file)


def check_context(
    requests: Mapping[str, Sequence[Request]],
    config: Mapping[str, Any],
    max_model_len: int | None,
    count: Count | None,
) -> Lengths:
    """Look for prompts that leave no room for the longest answer, and for what all of them need.

    Such a prompt loses its beginning, as in lm-evaluation-harness: with few shots the first ones.
    Where the configuration does not say how long the engine's context is, it is as long as the
    longest prompt and answer: a cache for the 131,072 tokens of a checkpoint may not fit beside its
    weights. Positions that depend on the context's length keep the checkpoint's.

    Args:
        requests: objective -> all that it may ask.
        config: the base model's config.json.
        max_model_len: what the configuration says of the engine; None leaves it to us.
        count: tokens of prompts; None where they cannot be counted.

    Raises:
        ConfigError: an answer alone may fill the context.
    """
    limit = context_length(config, max_model_len)
    longest = {name: max(_answer(r) for r in own) for name, own in requests.items()}
    full = [
        f"objective.{name}.max_tokens = {tokens} leaves no room for a prompt in the model's "
        f"context of {limit} tokens: lower it, or objective.thinking_tokens, which it includes"
        for name, tokens in longest.items()
        if limit is not None and tokens >= limit
    ]
    if full:
        raise ConfigError("; ".join(full))
    if count is None:
        return Lengths(max_model_len)
    warnings, needed = [], 0
    for name, own in requests.items():
        prompts = list(dict.fromkeys(_prompt(r) for r in own))
        sizes = dict(zip(prompts, count(prompts), strict=True))
        both = [sizes[_prompt(r)] + _answer(r) for r in own]
        needed = max(needed, *both)
        cut = sum(limit is not None and tokens > limit for tokens in both)
        if cut:
            warnings.append(
                f"{name}: {cut} of {len(own)} prompts lose their beginning: the longest has "
                f"{max(sizes.values())} tokens, and the model's context of {limit} must hold "
                f"{longest[name]} of the answer as well"
            )
    if max_model_len is None and not _by_length(config):
        max_model_len = -(-(needed + SPARE) // STEP) * STEP
        if limit is not None:
            max_model_len = min(max_model_len, limit)
    return Lengths(max_model_len, tuple(warnings))


def _prompt(request: Request) -> Prompt:
    """What the engine reads before it writes."""
    if request.continuation is None or not isinstance(request.prompt, str):
        return request.prompt
    return request.prompt + request.continuation


def _answer(request: Request) -> int:
    """Tokens that the engine writes; one after a continuation, which nobody reads."""
    return request.sampling.max_tokens if request.continuation is None else 1


def _by_length(config: Mapping[str, Any]) -> bool:
    """Whether the model's positions depend on how long its context is set."""
    for name in ("rope_scaling", "rope_parameters"):
        rope = config.get(name)
        if isinstance(rope, Mapping):
            kinds = [rope, *(part for part in rope.values() if isinstance(part, Mapping))]
            if any(k.get("rope_type", k.get("type")) in _BY_LENGTH for k in kinds):
                return True
    return False
