"""The values that cross the boundary between an engine, an objective and the search.

Owns only shapes: all frozen, all plain data that pickles. Knows no benchmark. Every rate is a share
in [0, 1]; only printing turns it into a percentage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Split = Literal["search", "held_out"]
"""Recipes are chosen on `search` items; what is told to the user comes from `held_out` items."""

Verdict = Mapping[str, bool | int | float | str | None]
"""What was found about one completion; flat, so that it fits into a row of a table."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation, for models with a chat template."""

    role: Literal["system", "user", "assistant"]
    content: str


Prompt = str | tuple[Message, ...]
"""Text to continue, or turns that the engine writes out by the model's own chat template."""


@dataclass(frozen=True)
class Sampling:
    """How to decode.

    Attributes:
        max_tokens: most new tokens.
        temperature: 0 is greedy.
        top_p: nucleus size, in (0, 1].
        stop: strings at which generation ends; they are not part of the completion.
        beam_width: beams of a beam search, which is deterministic and uses neither temperature nor
            nucleus; 1 is none.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    beam_width: int = 1


@dataclass(frozen=True)
class Decoding:
    """What a search may vary of an objective's decoding; None keeps the objective's own value.

    Attributes:
        temperature: 0 is greedy.
        top_p: nucleus size, in (0, 1].
        beam_width: beams of a beam search; 1 is none.
        shots: worked examples before the prompt.
    """

    temperature: float | None = None
    top_p: float | None = None
    beam_width: int | None = None
    shots: int | None = None


@dataclass(frozen=True)
class Request:
    """One prompt to complete, or the text after it whose log-likelihood is wanted.

    Attributes:
        prompt: what stands before the completion.
        sampling: how to decode; nothing where nothing is generated.
        seed: seed of this request's random numbers; None for greedy decoding.
        trace: whether `Completion.steps` is wanted.
        continuation: where set, nothing is generated: the log-likelihood of this text after the
            prompt is wanted. It is that of all tokens of prompt and continuation beyond those of
            the prompt without blanks at its end, as in lm-evaluation-harness. After an empty prompt
            it stands after the token that begins a text (that ends one, where none begins it).
        rolling: whether the continuation is a text by itself, of any length: what does not fit into
            the model's context is measured in windows, and what the tokenizer begins a text with
            is measured as well, as in lm-evaluation-harness's `loglikelihood_rolling`. The prompt
            is not used.
    """

    prompt: Prompt
    sampling: Sampling
    seed: int | None = None
    trace: bool = False
    continuation: str | None = None
    rolling: bool = False


@dataclass(frozen=True)
class Step:
    """How sure a model was of one generated token.

    Attributes:
        text: the token's text.
        entropy: entropy of the next-token distribution, in nats.
        nucleus: number of tokens in the smallest set that holds the request's `top_p`.
    """

    text: str
    entropy: float
    nucleus: int


@dataclass(frozen=True)
class Completion:
    """What an engine wrote for one request, or how likely it found the request's continuation.

    Attributes:
        text: the completion, without the prompt.
        n_tokens: tokens generated.
        finish_reason: "stop" when the model ended by itself, "length" when it was cut off.
        steps: one for each generated token where the request asked for them.
        logprob: of a request with a continuation, its log-likelihood: the sum over its tokens, in
            nats. Text and number of tokens are then empty and 0.
        greedy: of a request with a continuation, whether each of its tokens is the likeliest.
    """

    text: str
    n_tokens: int
    finish_reason: str
    steps: tuple[Step, ...] = ()
    logprob: float | None = None
    greedy: bool | None = None


@dataclass(frozen=True)
class Score:
    """A share with its 95% interval and the number of items it stands on.

    Attributes:
        value: the share in [0, 1]; None where it is not defined (nothing scored, or the metric
            does not apply to the language).
        low: lower end of the interval; None with `value`.
        high: upper end of the interval; None with `value`.
        n_scored: items in the denominator.
        n_total: items asked.
    """

    value: float | None
    low: float | None
    high: float | None
    n_scored: int
    n_total: int


@dataclass(frozen=True)
class ItemResult:
    """One item's prompt, completion and verdict, for the records."""

    objective: str
    id: str
    prompt: Prompt
    completion: str
    n_tokens: int
    finish_reason: str
    verdict: Verdict
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """All that one objective found about one model on one split.

    Attributes:
        scores: score name -> score.
        items: one result per request, in the order of the requests.
        infeasible: why the scores must not be compared; None when they may be.
    """

    scores: Mapping[str, Score]
    items: tuple[ItemResult, ...]
    infeasible: str | None


class Objective(Protocol):
    """Turns completions into scores.

    The contract: everything that can be wrong with the data is raised when the objective is built.
    After that both methods are pure: same arguments, same values, no files written. `score` wants
    exactly one completion per request, in the order of `requests`, or per request of the first n.
    One that knows only by its data of what kind its score is has a `target` as well, see
    `objectives.targets.known`.
    """

    name: str

    def requests(self, split: Split, decoding: Decoding | None = None) -> Sequence[Request]:
        """Return the requests of a split, in a fixed, shuffled order."""
        ...

    def score(
        self,
        split: Split,
        completions: Sequence[Completion],
        decoding: Decoding | None = None,
        *,
        first: int | None = None,
    ) -> Evaluation:
        """Score the completions of all requests of a split, or of the first so many.

        Raises:
            ValueError: their number is not the number of requests.
        """
        ...
