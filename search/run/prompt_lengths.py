"""Do the prompts fit into the model's context? Asked before an engine starts.

Owns the answer and its words; that a prompt is cut is `search.engine.live`'s doing. Counts with the
base model's own tokenizer file, which is quick to open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from objectives.types import Objective, Prompt, Split
from search.checkpoints.files import read_by_others
from search.errors import ConfigError

SPLITS: tuple[Split, ...] = ("search", "held_out")
_NAMES = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")


def context_length(config: Mapping[str, Any], max_model_len: int | None) -> int | None:
    """Tokens of prompt and answer together; None where config.json does not say.

    Args:
        config: the base model's config.json.
        max_model_len: what the configuration says of the engine, which comes first.
    """
    found = (config.get(name) for name in _NAMES)
    return max_model_len or next((n for n in found if isinstance(n, int)), None)


def check_context(objectives: Sequence[Objective], folder: Path, limit: int | None) -> list[str]:
    """Look for prompts that leave no room for the longest answer.

    Such a prompt loses its beginning, as in lm-evaluation-harness: with few shots the first ones.

    Args:
        objectives: what is scored.
        folder: where the base model's tokenizer.json is.
        limit: tokens of prompt and answer together; None is no limit.

    Returns:
        A warning for each objective that has such prompts; none where there is no tokenizer.json.

    Raises:
        ConfigError: an answer alone may fill the context.
        CheckpointError: the tokenizer cannot be read.
    """
    file = folder / "tokenizer.json"
    if limit is None:
        return []
    requests = {o.name: [r for split in SPLITS for r in o.requests(split)] for o in objectives}
    longest = {name: max(r.sampling.max_tokens for r in own) for name, own in requests.items()}
    full = [
        f"objective.{name}.max_tokens = {tokens} leaves no room for a prompt in the model's "
        f"context of {limit} tokens: lower it, or objective.thinking_tokens, which it includes"
        for name, tokens in longest.items()
        if tokens >= limit
    ]
    if full:
        raise ConfigError("; ".join(full))
    if not file.is_file():
        return []
    with read_by_others(str(file)):
        tokenizer = Tokenizer.from_file(str(file))
    warnings = []
    for name, own in requests.items():
        encoded = tokenizer.encode_batch([_text(r.prompt) for r in own])
        sizes = [len(one.ids) for one in encoded]
        cut = sum(n + r.sampling.max_tokens > limit for n, r in zip(sizes, own, strict=True))
        if cut:
            warnings.append(
                f"{name}: {cut} of {len(own)} prompts lose their beginning: the longest has "
                f"{max(sizes)} tokens, and the model's context of {limit} must hold "
                f"{longest[name]} of the answer as well"
            )
    return warnings


def _text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(turn.content for turn in prompt)
