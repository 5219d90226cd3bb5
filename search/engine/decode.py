"""Between requests and token ids: chat prompts, how sure each token was, text, stop strings.

Owns what vLLM leaves to its caller: a beam search knows no stop strings, and a traced request is
detokenized here, because vLLM would detokenize every alternative of every token as well. Reads
vLLM's outputs, but neither imports nor calls it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from objectives.types import Completion, Message, Request, Step

MASS_ERROR = 1e-6
"""Mass below this is rounding: the log-probabilities come in float32."""
CONTEXT = 5
"""Tokens of the prompt that the first token is decoded with; vLLM takes as many."""


def chat_text(messages: Sequence[Message], tokenizer: Any, settings: Mapping[str, Any]) -> str:
    """A conversation that the assistant is to continue, as the model's own template writes it.

    Args:
        messages: the turns.
        tokenizer: the model's.
        settings: values for the template, such as `enable_thinking`.

    Raises:
        ValueError: the tokenizer has no template, or its template refuses the conversation or
            leaves a turn out.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            "the base model's tokenizer has no chat template; ask for prompts without turns, or "
            "put the instruction-tuned model's chat_template.jinja into its folder"
        )
    turns = [asdict(message) for message in messages]
    try:
        text = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=False, **settings
        )
    except Exception as error:  # whatever a template raises
        raise ValueError(f"the model's chat template refuses the turns: {error}") from error
    for number, message in enumerate(messages, 1):
        if message.content.strip() not in text:
            raise ValueError(
                f"the model's chat template leaves out turn {number} of {len(messages)}, the "
                f"{message.role}'s: it writes {text[:80]!r}"
            )
    return str(text)


def chat_ids(messages: Sequence[Message], tokenizer: Any, settings: Mapping[str, Any]) -> list[int]:
    """Token ids of `chat_text`.

    The template writes the token that begins a sequence, so the tokenizer must not add a second.

    Raises:
        ValueError: as `chat_text`.
    """
    text = chat_text(messages, tokenizer, settings)
    return list(tokenizer.encode(text, add_special_tokens=False))


def read(request: Request, output: Any, tokenizer: Any, vocabulary: int) -> Completion:
    """What one of vLLM's outputs says.

    Args:
        request: what was asked; a traced one without detokenization, with flat log-probabilities.
        output: vLLM's RequestOutput, of a beam search its BeamSearchOutput.
        tokenizer: the model's.
        vocabulary: number of tokens.
    """
    stop, top_p = request.sampling.stop, request.sampling.top_p
    if request.sampling.beam_width > 1:
        beam = output.sequences[0]
        prompt_ids = beam.orig_prompt["prompt_token_ids"]
        token_ids = beam.tokens[len(prompt_ids) :]
        ended = bool(token_ids) and token_ids[-1] == tokenizer.eos_token_id
        known = [sorted((x.logprob for x in s.values()), reverse=True) for s in beam.logprobs]
    else:
        answer, prompt_ids = output.outputs[0], output.prompt_token_ids
        if not request.trace:
            return Completion(answer.text, len(answer.token_ids), answer.finish_reason)
        token_ids, ended, flat = answer.token_ids, answer.finish_reason == "stop", answer.logprobs
        spans = zip(flat.start_indices, flat.end_indices, strict=True)
        # before the likeliest tokens comes the one that was sampled
        known = [flat.logprobs[start + 1 : end] for start, end in spans]
    sure = [sureness(logs, vocabulary, top_p) for logs in known] if request.trace else []
    return completion(tokenizer, prompt_ids, token_ids, ended=ended, stop=stop, sure=sure)


def sureness(logprobs: Sequence[float], vocabulary: int, top_p: float) -> tuple[float, int]:
    """Entropy and nucleus size of a distribution of which the k likeliest tokens are known.

    Exact when all tokens are known. Otherwise both are lower bounds, of all distributions with
    these k tokens: the rest has a known mass r, and none of its tokens is likelier than the last
    known one, p_k. So its part of the entropy is at least -r ln min(p_k, r), which is too little by
    at most r ln((V - k) min(p_k, r) / r), and a nucleus that k tokens do not fill needs at least
    (top_p - known mass) / p_k more.

    Args:
        logprobs: natural logarithms of the k highest probabilities, highest first.
        vocabulary: number of tokens V.
        top_p: mass that the nucleus must hold.

    Returns:
        Entropy in nats; number of tokens in the nucleus.
    """
    logs = np.asarray(logprobs, dtype=np.float64)
    shares = np.exp(logs)
    reached = np.cumsum(shares)
    entropy = -float(shares @ np.where(shares > 0, logs, 0.0))
    last, known = float(shares[-1]), float(reached[-1])
    rest = 1.0 - known
    if len(logs) < vocabulary and rest > MASS_ERROR:
        entropy -= rest * math.log(min(last, rest))
    else:
        top_p = min(top_p, known)
    inside = int(np.searchsorted(reached, top_p - MASS_ERROR)) + 1
    if inside > len(logs):
        inside = len(logs) + math.ceil((top_p - MASS_ERROR - known) / last)
    return max(entropy, 0.0), min(inside, vocabulary)


def token_texts(
    tokenizer: Any, prompt_ids: Sequence[int], token_ids: Sequence[int]
) -> Iterator[str]:
    """The text that each generated token adds; joined they are the completion.

    A token that ends within a character adds nothing, the one that ends the character adds it.
    Special tokens add nothing.
    """
    head = list(prompt_ids[-CONTEXT:])
    ids = [*head, *token_ids]
    start, read = 0, len(head)
    for end in range(len(head) + 1, len(ids) + 1):
        before = tokenizer.decode(ids[start:read], skip_special_tokens=True)
        after = tokenizer.decode(ids[start:end], skip_special_tokens=True)
        if len(after) > len(before) and not after.endswith("\ufffd"):
            yield after[len(before) :]
            start, read = read, end
        else:
            yield ""


def completion(
    tokenizer: Any,
    prompt_ids: Sequence[int],
    token_ids: Sequence[int],
    *,
    ended: bool,
    stop: Sequence[str],
    sure: Sequence[tuple[float, int]] = (),
) -> Completion:
    """The completion that generated tokens are, cut where a stop string begins.

    Args:
        tokenizer: the model's.
        prompt_ids: tokens of the prompt.
        token_ids: tokens generated.
        ended: whether the last token is the model's sign that it ended, which is no text.
        stop: strings that end the completion and are not part of it.
        sure: entropy and nucleus size at each token, where they are wanted.
    """
    pieces = list(token_texts(tokenizer, prompt_ids, token_ids[:-1] if ended else token_ids))
    pieces += [""] * ended
    text, n_tokens, stopped = _cut(pieces, stop)
    texts = _within(pieces[:n_tokens], len(text))
    steps = tuple(Step(t, *s) for t, s in zip(texts, sure, strict=False))
    return Completion(text, n_tokens, "stop" if ended or stopped else "length", steps)


def _cut(pieces: Sequence[str], stop: Sequence[str]) -> tuple[str, int, bool]:
    """Text before the stop string that is complete first, tokens up to its end, whether it is."""
    text = ""
    for n, piece in enumerate(pieces, 1):
        text += piece
        found = [(text.index(s) + len(s), text.index(s)) for s in stop if s in text]
        if found:
            return text[: min(found)[1]], n, True
    return text, len(pieces), False


def _within(pieces: Sequence[str], length: int) -> Iterator[str]:
    """The pieces as far as they lie within the first characters."""
    for piece in pieces:
        yield piece[:length]
        length -= min(len(piece), length)
