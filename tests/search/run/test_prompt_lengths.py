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
from search.common.errors import ConfigError
from search.run.prompt_lengths import (
    SPARE,
    STEP,
    Lengths,
    asked,
    check_context,
    counter,
)


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


class Shots(Asks):
    """The same with examples of a hundred letters."""

    def __init__(self) -> None:
        super().__init__((), 10)

    def requests(self, split: Split, decoding: Decoding | None = None) -> Sequence[Request]:
        shots = 2 if decoding is None or decoding.shots is None else decoding.shots
        return [Request("x" * 100 * (2 + shots), Sampling(self.max_tokens))]


def folder(family: Family) -> Path:
    return Path(family.sources("te")["base"])


def lengths(
    *objectives: Asks, family: Family, limit: int | None, given: int | None = None, **config: object
) -> Lengths:
    requests = asked({o.name: o for o in objectives}, {})
    context = {"max_position_embeddings": limit} if limit else {}
    return check_context(requests, context | config, given, counter(folder(family), None))


def test_prompts_that_lose_their_beginning_are_counted(demo_family: Family) -> None:
    """A letter is a token of the demo's tokenizer, which begins with one."""
    asks = Asks(("క" * 9, "క" * 10, "క" * 29, "క" * 40), max_tokens=10)
    found = lengths(asks, family=demo_family, limit=20)
    (warning,) = found.warnings
    assert "math: 6 of 8 prompts lose their beginning" in warning
    assert "the longest has 41 tokens" in warning
    assert found.max_model_len == 20
    for limit in (51, None):
        assert not lengths(asks, family=demo_family, limit=limit).warnings


@pytest.mark.parametrize(
    ("letters", "limit", "given", "wanted"),
    [
        (STEP - 10 - SPARE - 1, None, None, STEP),
        (STEP - 10 - SPARE, None, None, 2 * STEP),
        (40, 131_072, None, STEP),
        (40, 60, None, 60),  # never more than the checkpoint's
        (40, 131_072, 77, 77),
    ],
)
def test_the_context_is_as_long_as_what_is_asked(
    demo_family: Family, letters: int, limit: int | None, given: int | None, wanted: int
) -> None:
    asks = Asks(("క", "క" * letters), max_tokens=10)
    assert lengths(asks, family=demo_family, limit=limit, given=given).max_model_len == wanted


@pytest.mark.parametrize(
    ("rope", "kept"),
    [
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, True),
        ({"rope_scaling": {"rope_type": "longrope"}}, True),
        ({"rope_parameters": {"full_attention": {"rope_type": "longrope"}}}, True),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, False),
        ({"rope_scaling": None}, False),
    ],
)
def test_positions_that_depend_on_the_context_keep_the_checkpoints(
    demo_family: Family, rope: dict[str, object], kept: bool
) -> None:
    found = lengths(Asks(("a",), 10), family=demo_family, limit=4096, **rope)
    assert (found.max_model_len is None) == kept


def test_all_that_a_search_may_ask_is_counted(demo_family: Family) -> None:
    """Worked examples make prompts longer."""
    requests = asked({"math": Shots()}, {"math": [Decoding(shots=4), Decoding(shots=1)]})
    found = check_context(requests, {}, None, lambda prompts: [len(str(p)) for p in prompts])
    assert found.max_model_len == 5 * STEP  # 600 letters, 10 of the answer


def test_conversations_are_counted_as_the_template_writes_them(
    demo_family: Family, tmp_path: Path
) -> None:
    for file in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        if (folder(demo_family) / file).is_file():
            (tmp_path / file).write_text((folder(demo_family) / file).read_text())
    template = "{% for m in messages %}{{ 'క' * 50 + m['content'] }}{% endfor %}"
    (tmp_path / "chat_template.jinja").write_text(template)
    count = counter(tmp_path, {})
    assert count is not None
    turns = (Message("user", "క" * 30), Message("user", "క" * 9))
    plain, written = count(["క" * 39, turns])
    assert written == plain + 100


def test_an_answer_as_long_as_the_context(demo_family: Family, tmp_path: Path) -> None:
    asks = [Asks(("a",), max_tokens=20), Asks(("a",), max_tokens=30, name="words")]
    with pytest.raises(ConfigError, match=r"math.max_tokens = 20 leaves .* 20 .*words.* = 30"):
        lengths(*asks, family=demo_family, limit=20)
    assert counter(tmp_path, None) is None  # no tokenizer.json to count with
    requests = asked({o.name: o for o in asks}, {})
    assert check_context(requests, {"n_positions": 40}, None, None) == Lengths(None)
