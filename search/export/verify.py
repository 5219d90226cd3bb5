"""Does an exported checkpoint answer as its trial did? A fresh vLLM engine on it is asked again.

Owns the comparison of greedy answers, of any objective: those items of a trial whose prompts the
objective asks and has answered greedily. The engine lives in a process of its own (`python -m
search.export.verify`, job as JSON on standard input), because vLLM keeps state for a whole process.

Greedy decoding takes the likeliest token. How sums of products are rounded depends on which
requests run together: where two tokens are nearly as likely, an answer may differ in a model that
is the same. So the requests that the trial's engine had together are asked together again, up to
the last that is compared. On a GPU, or with another number of threads, a few answers may differ all
the same; most of them are a fault.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from objectives.types import ItemResult, Message, Prompt, Request, Sampling
from search.common.errors import EngineError
from search.config.schema import Config
from search.config.scored import build_objectives
from search.engine.contract import EngineOptions, NonFinite
from search.records.record import Record
from search.study.tuning.judging import in_parts

Greedy = Mapping[str, Mapping[Prompt, Sampling]]
"""Objective -> prompt -> how it is answered."""


@dataclass(frozen=True)
class Question:
    """A recorded answer: which item, its prompt, what the trial's engine wrote, and how."""

    id: str
    prompt: Prompt
    answer: str
    sampling: Sampling


def engine_options(config: Config) -> EngineOptions:
    """How a study's engines were built."""
    return EngineOptions(
        **config.search.engine.model_dump(),
        seed=config.search.seed,
        chat_template_kwargs=config.objective.chat_template_kwargs,
    )


def requests(config: Config, record: Record) -> dict[str, list[Request]]:
    """What each of a study's objectives asked of a trial.

    Raises:
        ObjectiveError: their data is not where the study found it.
    """
    objectives = build_objectives(config.objective, config.lang)
    return {
        name: list(objective.requests(record.split, record.recipe.decoding))
        for name, objective in objectives.items()
    }


def greedy(asked: Mapping[str, Sequence[Request]]) -> Greedy:
    """What of it is answered greedily; it may be compared."""
    return {
        name: {each.prompt: each.sampling for each in own if _is_greedy(each)}
        for name, own in asked.items()
    }


def _is_greedy(request: Request) -> bool:
    return request.continuation is None and request.sampling.temperature == 0


def batches(
    config: Config, record: Record, asked: Mapping[str, Sequence[Request]]
) -> list[list[Request]]:
    """What of it the trial's engine was asked together, batch after batch.

    A proposal of a search that races is taken for one that was looked at on its way.
    """
    race = config.search.race
    raced = race and record.split == "search" and record.origin != "baseline"
    return list(in_parts(list(asked.values()), (*(race.looks if race and raced else ()), 1.0)))


def questions(items: Sequence[ItemResult], known: Greedy, count: int) -> list[Question]:
    """The first greedy answers among a trial's items, of each objective in turn.

    Args:
        items: from `RecordsReader.items`.
        known: from `greedy`.
        count: how many, at most.
    """
    of: dict[str, list[Question]] = {}
    for item in items:
        sampling = known.get(item.objective, {}).get(item.prompt)
        if sampling is not None:
            question = Question(item.id, item.prompt, item.completion, sampling)
            of.setdefault(item.objective, []).append(question)
    turns = zip_longest(*of.values())
    return [question for turn in turns for question in turn if question is not None][:count]


def answer_differences(
    folder: Path,
    compared: Sequence[Question],
    asked: Sequence[Sequence[Request]],
    options: EngineOptions,
) -> list[str]:
    """What a fresh engine answers otherwise than recorded: one line for each such item.

    Args:
        folder: the exported checkpoint.
        compared: the answers on record.
        asked: from `batches`; what holds no prompt of these after its place is left out.
        options: of the trial's engine.

    Raises:
        EngineError: the engine did not start or died.
    """
    wanted = {(question.prompt, question.sampling) for question in compared}
    places = [
        [i for i, r in enumerate(batch) if _is_greedy(r) and (r.prompt, r.sampling) in wanted]
        for batch in asked
    ]
    asked = asked[: max((n for n, found in enumerate(places, 1) if found), default=0)]
    answers = _run(
        {
            "folder": str(folder),
            "options": asdict(options),
            "batches": [[asdict(request) for request in batch] for batch in asked],
        }
    )
    found: dict[tuple[Prompt, Sampling], str] = {}
    for batch, texts, compare in zip(asked, answers, places, strict=False):
        for i in compare:
            found.setdefault((batch[i].prompt, batch[i].sampling), texts[i])
    return [
        f"{question.id}: {_difference(question.answer, answer)}"
        for question in compared
        if (answer := found[question.prompt, question.sampling]) != question.answer
    ]


def _difference(recorded: str, found: str) -> str:
    same = len(os.path.commonprefix([recorded, found]))
    shown = [repr(text[same : same + 30]) for text in (recorded, found)]
    return f"from character {same} on {shown[0]} is on record, the export says {shown[1]}"


def _run(job: Mapping[str, Any]) -> list[list[str]]:
    """Answer in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "search.export.verify"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        env={"VLLM_LOGGING_LEVEL": "ERROR", **os.environ},
    )
    if done.returncode:
        raise EngineError(f"no engine could answer from the export:\n{done.stderr[-2000:]}")
    answers: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def _answer(job: Mapping[str, Any]) -> list[list[str]]:
    from search.checkpoints.family import fit
    from search.engine.live import Engine

    family = fit({"base": Path(job["folder"])}, check_finite=False)
    engine = Engine(family, EngineOptions(**job["options"]))
    answers = []
    for batch in job["batches"]:
        done = engine.generate([_request(**fields) for fields in batch])
        if isinstance(done, NonFinite):
            raise EngineError(done.reason)
        answers.append([answer.text for answer in done])
    engine.close()
    return answers


def _request(prompt: Any, sampling: Any, **more: Any) -> Request:
    """A request as `asdict` and JSON left it."""
    whole = prompt if isinstance(prompt, str) else tuple(Message(**turn) for turn in prompt)
    return Request(whole, Sampling(**{**sampling, "stop": tuple(sampling["stop"])}), **more)


if __name__ == "__main__":
    print(json.dumps(_answer(json.load(sys.stdin))))
