"""Tasks of lm-evaluation-harness as an objective.

Owns the settings, the split and the scores. The harness itself, with its
prompts, filters and metrics, is behind `lm_eval_tasks`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, field_validator

from objectives.errors import SettingError
from objectives.lm_eval_tasks import Answer, Ask, Item, Tasks, Worth, load
from objectives.paired import tables
from objectives.settings import Positive, Settings, Shared
from objectives.splits import split_items
from objectives.stats import mean_score
from objectives.target import Target
from objectives.types import (
    Completion,
    Decoding,
    Evaluation,
    ItemResult,
    Request,
    Sampling,
    Score,
    Split,
)
from objectives.words import counted

DEFAULT_TOKENS = 256
"""New tokens where a task says nothing, as in the harness."""


class LmEvalSettings(Settings):
    """Tasks of lm-evaluation-harness 0.4.13 (the extra `lm-eval`)."""

    target = Target("lm_eval", "lm_eval", "lm_eval", kind="parts")

    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of tasks, groups or tags; the score is the mean over these names."""

    include_path: Path | None = None
    """Folder of task YAMLs of one's own. None for the harness's tasks alone."""

    allow_code: bool = False
    """Whether YAMLs of `include_path` may run Python code (`!function`). Without, their templates
    run in a sandbox."""

    fetch: bool = False
    """Whether the harness may fetch data sets that are not here."""

    search_items: Positive = 150
    """Items that the search scores each recipe on."""

    held_out_items: Positive = 100
    """Items that only the final table is scored on."""

    shuffle: bool = True
    """Draw the split by `objective.seed`. Without, the first items are searched on and those after
    them held out."""

    @field_validator("tasks")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise ValueError(f"{twice[0]} is named more than once")
        return names

    def build(self, shared: Shared) -> LmEvalObjective:
        """The objective, with its data read."""
        if shared.chat:
            raise SettingError(
                "objective.lm_eval writes prompts as the tasks have them, not as turns: set "
                "objective.chat=false"
            )
        tasks = load(self.tasks, self.include_path, code=self.allow_code, fetch=self.fetch)
        order = shared.seed if self.shuffle else None
        return LmEvalObjective(tasks, self.search_items, self.held_out_items, order)


class LmEvalObjective:
    """Tasks of lm-evaluation-harness, with its own prompts, few-shots, filters and metrics.

    Scores: `lm_eval`, the mean over the tasks and groups that were named of what each is chosen by
    (a group's is that of all its items); `<task>/<metric>` for every metric that is a mean over
    items. A task of perplexity is chosen by its log-likelihood per word or byte, of which more is
    better; the perplexity itself is recorded as well.

    Attributes:
        name: "lm_eval".
        target: the score, as what it is known to be by its tasks: a share of the items where there
            is one task or group, each item of which is right or wrong.
        split_hash: 16 hex digits that name the items of both parts, for the records.
    """

    def __init__(
        self, tasks: Tasks, search_items: int, held_out_items: int, seed: int | None
    ) -> None:
        """Split the items of tasks that were built; without a seed in their order.

        Raises:
            SettingError: A number of items is below 1.
            DataError: there are fewer items than asked for.
        """
        self.name = "lm_eval"
        self._tasks = tasks
        plain = LmEvalSettings.target
        self.target = replace(plain, kind="share", item="value") if tasks.yes_or_no else plain
        where = f"lm_eval {', '.join(tasks.parts)}"
        self._parts = split_items(tasks.items, search_items, held_out_items, seed, where)
        self.split_hash = hashlib.sha256(self._parts.hash.encode()).hexdigest()[:16]
        self._part_of = {task: part for part, names in tasks.parts.items() for task in names}

    def requests(self, split: Split, decoding: Decoding | None = None) -> Sequence[Request]:
        """Return the requests of all items; one item may have several."""
        return tuple(_request(ask) for item in self._parts.of(split) for ask in item.asks)

    def score(
        self,
        split: Split,
        completions: Sequence[Completion],
        decoding: Decoding | None = None,
        *,
        first: int | None = None,
    ) -> Evaluation:
        """Score one completion per request, or of the first so many requests.

        An item of which not all requests are among them is left out.

        Raises:
            ValueError: their number is not the number of requests.
        """
        wanted = sum(len(item.asks) for item in self._parts.of(split))
        wanted = wanted if first is None else min(first, wanted)
        if len(completions) != wanted:
            raise ValueError(
                f"{counted(len(completions), 'completion')} for {counted(wanted, 'request')}"
            )
        results, worths, place = [], [], 0
        for item in self._parts.of(split):
            mine = completions[place : place + len(item.asks)]
            place += len(item.asks)
            if len(mine) < len(item.asks):
                break
            worth = self._tasks.worth(
                item, [_answer(*x) for x in zip(item.asks, mine, strict=True)]
            )
            worths.append((item.stratum, worth))
            results.append(self._result(item, mine, worth))
        return Evaluation(self._scores(worths, results), tuple(results), None)

    def _result(
        self, item: Item, completions: Sequence[Completion], worth: Mapping[str, Worth]
    ) -> ItemResult:
        main = worth[self._tasks.main[item.stratum]]
        likely = [each.logprob for each in completions if each.logprob is not None]
        verdict: dict[str, bool | int | float | str | None] = {
            "task": item.stratum,
            "part": self._part_of[item.stratum],
            "value": main.value,
            "weight": main.weight,
            "logprobs": " ".join(map(repr, likely)) or None,
        }
        verdict |= {name: each.value for name, each in worth.items()}
        return ItemResult(
            objective=self.name,
            id=item.id,
            prompt=str(item.asks[0].arguments[0]),
            completion=completions[0].text,
            n_tokens=sum(each.n_tokens for each in completions),
            finish_reason=completions[0].finish_reason,
            verdict=verdict,
        )

    def _scores(
        self, worths: Sequence[tuple[str, Mapping[str, Worth]]], results: Sequence[ItemResult]
    ) -> dict[str, Score]:
        found = {"lm_eval": mean_score([tables([results], self.name, "")])}
        of: dict[tuple[str, str], list[Worth]] = {}
        for task, worth in worths:
            for metric, each in worth.items():
                of.setdefault((task, metric), []).append(each)
        for (task, metric), own in of.items():
            mean = mean_score([[np.array([[each.value, each.weight] for each in own])]])
            value, *ends = (
                None if x is None else self._tasks.figure(task, metric, x)
                for x in (mean.value, mean.low, mean.high)
            )
            low, high = sorted(end for end in ends if end is not None)
            found[f"{task}/{metric}"] = replace(mean, value=value, low=low, high=high)
        return found


def _request(ask: Ask) -> Request:
    if ask.kind == "loglikelihood":
        prompt, continuation = ask.arguments[:2]
        return Request(prompt, Sampling(1), continuation=continuation)
    if ask.kind == "loglikelihood_rolling":
        return Request("", Sampling(1), continuation=ask.arguments[0], rolling=True)
    prompt, asked = ask.arguments[:2]
    until = asked.get("until") or []
    stop = [until] if isinstance(until, str) else until
    names = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
    tokens = next((asked[name] for name in names if asked.get(name)), DEFAULT_TOKENS)
    if not (isinstance(stop, list | tuple) and all(isinstance(each, str) for each in stop)):
        raise SettingError(f"a task's until is {until}, no text and no list of texts")
    if not isinstance(tokens, int) or tokens < 1:
        raise SettingError(f"a task's number of new tokens is {tokens!r}, no whole number above 0")
    if asked.get("do_sample") and asked.get("temperature", 0.0) > 0:
        raise SettingError("a task draws its answers (do_sample): only greedy ones are supported")
    return Request(prompt, Sampling(tokens, stop=tuple(s for s in stop if s)))


def _answer(ask: Ask, completion: Completion) -> Answer:
    if ask.kind == "generate_until":
        return completion.text
    if completion.logprob is None or completion.greedy is None:
        raise ValueError("the engine measured no log-likelihood")
    if ask.kind == "loglikelihood_rolling":
        return completion.logprob
    return completion.logprob, completion.greedy
