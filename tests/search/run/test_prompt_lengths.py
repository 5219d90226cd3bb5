"""Prompts that are longer than the model's context are found before an engine starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from objectives.types import (
    Completion,
    Decoding,
    Evaluation,
    Message,
    Prompt,
    Request,
    Sampling,
    Split,
)
from search.checkpoints.family import Family
from search.errors import ConfigError
from search.run.prompt_lengths import check_context, context_length


@dataclass(frozen=True)
class Asks:
    """An objective with these prompts in both splits."""

    prompts: tuple[Prompt, ...]
    max_tokens: int
    name: str = "math"

    def requests(self, split: Split, decoding: Decoding | None = None) -> Sequence[Request]:
        return [Request(prompt, Sampling(self.max_tokens)) for prompt in self.prompts]

    def score(
        self,
        split: Split,
        completions: Sequence[Completion],
        decoding: Decoding | None = None,
        *,
        first: int | None = None,
    ) -> Evaluation:
        raise NotImplementedError


def folder(family: Family) -> Path:
    return Path(family.sources("te")["base"])


def test_the_models_own_context_or_the_one_asked_for() -> None:
    assert context_length({"max_position_embeddings": 512}, None) == 512
    assert context_length({"max_position_embeddings": 512}, 100) == 100
    assert context_length({"n_positions": 1024}, None) == 1024
    assert context_length({}, None) is None


def test_prompts_that_lose_their_beginning_are_counted(demo_family: Family) -> None:
    """A letter is a token of the demo's tokenizer, which begins with one; turns are a text."""
    turns = (Message("user", "క" * 30), Message("user", "క" * 9))
    asks = Asks(("క" * 9, "క" * 10, "క" * 29, turns), max_tokens=10)
    (warning,) = check_context([asks], folder(demo_family), 20)
    assert "math: 6 of 8 prompts lose their beginning" in warning
    assert "the longest has 41 tokens" in warning
    assert check_context([asks], folder(demo_family), 51) == []
    assert check_context([asks], folder(demo_family), None) == []


def test_an_answer_as_long_as_the_context(demo_family: Family, tmp_path: Path) -> None:
    asks = [Asks(("a",), max_tokens=20), Asks(("a",), max_tokens=30, name="words")]
    with pytest.raises(ConfigError, match=r"math.max_tokens = 20 leaves .* 20 .*words.* = 30"):
        check_context(asks, folder(demo_family), 20)
    assert check_context(asks, tmp_path, 40) == []  # no tokenizer.json to count with
