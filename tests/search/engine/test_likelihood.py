"""Which tokens of a request are measured, with a tokenizer of one token for each byte."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from objectives.types import Message, Request, Sampling
from search.engine.likelihood import Span, measured, spans, text_ids, unread, windows

BOS, EOS = 0, 1


@pytest.fixture(params=[True, False], ids=["begins texts", "does not"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    from tests.families import tokenizer

    made = tokenizer()
    if request.param:
        made.backend_tokenizer.post_processor = TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", BOS)]
        )
    return made


def asked(prompt: Any, continuation: str, tokenizer: Any, limit: int = 99, **more: Any) -> Any:
    request = Request(prompt, Sampling(1), continuation=continuation, **more)
    return [
        (tokenizer.decode(s.ids[: s.start]), tokenizer.decode(s.ids[s.start :]))
        for s in spans(request, tokenizer, {}, limit)
    ]


def begun(tokenizer: Any) -> str:
    return "<s>" if tokenizer.encode("x")[0] == BOS else ""


def test_blanks_at_the_prompts_end_are_the_continuations(tokenizer: Any) -> None:
    first = begun(tokenizer)
    assert asked("Q: 1 A:", " two", tokenizer) == [(first + "Q: 1 A:", " two")]
    assert asked("Q: 1 A: \n", "two", tokenizer) == [(first + "Q: 1 A:", " \ntwo")]
    assert asked("<s>Q", " two", tokenizer) == [("<s>Q", " two")]  # never begun twice


def test_an_empty_prompt(tokenizer: Any) -> None:
    assert asked("", "two", tokenizer) == [("<s>", "two")]
    tokenizer.bos_token = None
    assert asked("", "two", tokenizer) == [("</s>", "two")]
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="no token that begins or ends a text"):
        asked("", "two", tokenizer)


def test_turns(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ bos_token }}{% for m in messages %}{{ m.content }}: {% endfor %}"
    assert asked((Message("user", "Hi"),), "two", tokenizer) == [("<s>Hi:", " two")]


def test_what_does_not_fit(tokenizer: Any) -> None:
    assert asked("a long prompt", " two", tokenizer, limit=6) == [("pt", " two")]
    assert asked("a long prompt", " two", tokenizer, limit=3) == [("t", "wo")]
    assert "".join(text for _, text in asked("", "0123456789", tokenizer, 4)) == "789"


@pytest.mark.parametrize("limit", [2, 3, 4, 7, 11, 12, 99])
def test_a_rolling_text_is_measured_once(tokenizer: Any, limit: int) -> None:
    """Against lm-evaluation-harness's own windows."""
    pytest.importorskip("lm_eval")
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    found = asked("", "0123456789", tokenizer, limit, rolling=True)
    assert "".join(text for _, text in found) == begun(tokenizer) + "0123456789"
    ids = text_ids("0123456789", tokenizer)
    theirs = map(make_disjoint_window, get_rolling_token_windows(ids, BOS, limit - 1, 1))
    ours = [(list(s.ids[: s.start]), list(s.ids[s.start :])) for s in windows(ids, BOS, limit)]
    assert ours == [(list(before), list(text)) for before, text in theirs]


def test_the_sum_is_over_what_is_measured() -> None:
    def flat(*places: tuple[float, float]) -> Any:
        return SimpleNamespace(
            start_indices=[0, *range(0, 2 * len(places), 2)],
            end_indices=[0, *range(2, 2 * len(places) + 2, 2)],
            logprobs=[number for place in places for number in place],
        )

    one = (Span((5, 6, 7), 1), flat((-1.0, -1.0), (-2.0, -2.0)))
    other = (Span((5, 6, 7), 2), flat((float("nan"), 0.0), (-4.0, -0.5)))
    assert measured([one]).logprob == -3 and measured([one]).greedy
    both = measured([one, other])
    assert (both.logprob, both.greedy, both.text, both.n_tokens) == (-7.0, False, "", 0)


@pytest.mark.parametrize(("cached", "hidden"), [(0, False), (3, False), (4, True)])
def test_what_is_cached_is_not_known(cached: int, hidden: bool) -> None:
    """The log-probability of token 4 comes from token 3, which has to be computed."""
    assert unread(Span((0, 1, 2, 3, 4), 4), cached) is hidden
