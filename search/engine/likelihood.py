"""Between requests for log-likelihoods and token ids: which tokens count, and what they sum to.

Owns where a continuation begins, as lm-evaluation-harness 0.4.13 has it, what does not fit into the
model's context, and the sum. Reads vLLM's outputs, but neither imports nor calls it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from objectives.types import Completion, Request
from search.engine.decode import chat_text


@dataclass(frozen=True)
class Span:
    """Tokens for the engine, of which those from `start` on are measured; `start` is at least 1."""

    ids: tuple[int, ...]
    start: int


def text_ids(text: str, tokenizer: Any) -> list[int]:
    """Token ids of a text, begun as the tokenizer begins one, but never twice."""
    bos = tokenizer.bos_token
    begun = bool(bos) and text.startswith(bos)
    return list(tokenizer.encode(text, add_special_tokens=not begun))


def spans(
    request: Request, tokenizer: Any, chat: Mapping[str, Any], limit: int
) -> tuple[Span, ...]:
    """What to ask an engine about one continuation.

    Args:
        request: one with a continuation.
        tokenizer: the model's.
        chat: values for the template of a prompt of turns.
        limit: most tokens of a span. A longer prompt loses its beginning; so does a continuation
            that is longer by itself, but for a rolling one, which is cut into windows.

    Raises:
        ValueError: the tokenizer has neither a token that begins a text nor one that ends it, and
            nothing stands before the continuation; or as `chat_text`.
    """
    assert request.continuation is not None
    if isinstance(request.prompt, str):
        prompt, special = request.prompt, True
    else:  # the template writes the token that begins a text
        prompt, special = chat_text(request.prompt, tokenizer, chat), False
    if request.rolling or not prompt:
        first = tokenizer.bos_token_id
        first = tokenizer.eos_token_id if first is None else first
        if first is None:
            raise ValueError("the tokenizer has no token that begins or ends a text")
        if request.rolling:
            return tuple(windows(text_ids(request.continuation, tokenizer), first, limit))
        ids = list(tokenizer.encode(request.continuation, add_special_tokens=False))
        return (_fitted(ids if ids[:1] == [first] else [first, *ids], 1, limit),)
    bare = prompt.rstrip()
    whole = prompt + request.continuation
    if special:
        ids, before = text_ids(whole, tokenizer), text_ids(bare, tokenizer)
    else:
        ids = list(tokenizer.encode(whole, add_special_tokens=False))
        before = list(tokenizer.encode(bare, add_special_tokens=False))
    # a prompt of blanks alone, where the tokenizer begins no text, leaves nothing to stand on
    return (_fitted(ids, max(1, len(before)), limit),)


def windows(ids: Sequence[int], first: int, limit: int) -> Iterator[Span]:
    """A text in spans in which each of its tokens is measured once, whatever its length.

    The first follows the token `first`; each of the others the tokens before it, as many as fit.

    Args:
        ids: the text's tokens.
        first: what the first is measured after.
        limit: most tokens of a span, at least 2.
    """
    size = limit - 1
    for start in range(0, len(ids), size):
        end = min(start + size, len(ids))
        head = [first] if start == 0 else ids[max(0, end - limit) : start]
        yield Span((*head, *ids[start:end]), len(head))


def measured(asked: Iterable[tuple[Span, Any]]) -> Completion:
    """The log-likelihood of a continuation.

    Args:
        asked: its spans, each with vLLM's flat log-probabilities of the prompt: at each place the
            token's own, then the likeliest token's.
    """
    total, greedy = 0.0, True
    for span, flat in asked:
        for place in range(span.start, len(span.ids)):
            own, likeliest = flat.logprobs[flat.start_indices[place] : flat.end_indices[place]][:2]
            total += own
            greedy = greedy and own >= likeliest
    return Completion("", 0, "stop", logprob=total, greedy=greedy)


def unread(span: Span, cached: int) -> bool:
    """Whether cached tokens hide what is measured: their own log-probabilities are not known.

    Args:
        span: what was asked.
        cached: tokens at its beginning that the engine took from its cache. The log-probability
            of a token comes from the one before it.
    """
    return cached > span.start - 1


def _fitted(ids: Sequence[int], start: int, limit: int) -> Span:
    """The last tokens that fit, with at least one before what is measured."""
    cut = max(0, len(ids) - limit)
    return Span(tuple(ids[cut:]), max(1, start - cut))
