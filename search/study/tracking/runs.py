"""How a study and its records look in MLflow: names, params, metrics.

Pure: what `search.study.tracking.view` sends is made here. Knows nothing of servers and threads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from objectives import targets
from objectives.types import ItemResult
from search.common.values import flatten, short
from search.merging.recipe import Layered, to_dict
from search.records.record import Record

VALUE_LENGTH = 5000
"""Longest value: below MLflow's 6000 characters for params and 8000 for tags."""


def is_server(uri: str) -> bool:
    """Whether a tracking URI is the address of a server; others are databases and folders."""
    return uri.startswith(("http://", "https://"))


def experiment_name(family: str, lang: str) -> str:
    """Name of the MLflow experiment of a family and a language."""
    return f"layer-swap/{family}/{lang}"


def default_uri(out: Path) -> str:
    """The sqlite store under an output folder: absolute, whatever the working directory is."""
    return f"sqlite:///{out.resolve() / 'mlflow.db'}"


PARTIAL = "first_items_"
"""Stands before a stopped trial's scores: they are not to be sorted among those of all items."""


COMPARED = ("lpr", "wpr")
"""Scores that people compare besides the targets and what the final table shows."""


def few_metrics_of(record: Record) -> dict[str, float]:
    """What people compare: the targets with their intervals, some scores, tokens, seconds.

    Each score with the number of its items, which an export from MLflow alone needs.
    """
    optimised = [target.score for target in targets.TARGETS]
    names = {name + end for name in optimised for end in ("", "_low", "_high", "_n")}
    beside = (*COMPARED, *targets.shown(record.scores))
    names |= {name + end for name in beside for end in ("", "_n")}
    names |= {f"{PARTIAL}{name}" for name in names} | {"estimate", "chance"}
    names |= {"tokens", "tokens_per_s", "total_s"}
    return {name: value for name, value in metrics_of(record).items() if name in names}


def metrics_of(record: Record) -> dict[str, float]:
    """Scores in percent with ends of their intervals and counts; seconds; tokens; bytes written."""
    found = _scores_of(record)
    if record.stopped is not None:
        found = {f"{PARTIAL}{name}": value for name, value in found.items()}
        found |= {"estimate": 100 * record.stopped.estimate, "chance": 100 * record.stopped.chance}
    found |= {f"{name}_s": seconds for name, seconds in record.seconds.items()}
    generate = record.seconds.get("generate", 0.0)
    if generate > 0:
        found["tokens_per_s"] = record.tokens / generate
    counts = ("tokens", "written", "layers", "attempts")
    return found | {name: float(getattr(record, name)) for name in counts}


def _scores_of(record: Record) -> dict[str, float]:
    found: dict[str, float] = {}
    first = [name for name in (t.score for t in targets.TARGETS) if name in record.scores]
    for name in [*first, *(name for name in record.scores if name not in first)]:
        score = record.scores[name]
        for end, share in (("", score.value), ("_low", score.low), ("_high", score.high)):
            if share is not None:
                found[name + end] = round(100 * share, 6)
        found[f"{name}_n"] = score.n_scored
    return found


class Progress:
    """How a study went on, by what has ended: for curves in MLflow."""

    def __init__(self) -> None:
        self._best: float | None = None
        self._latest = -1
        self._counts = dict.fromkeys(("trials", "stopped", "failed", "tokens"), 0)

    def add(self, record: Record) -> tuple[dict[str, float], dict[str, float]]:
        """Count a record; one that was counted before changes nothing.

        Args:
            record: any; they come in the order of their numbers.

        Returns:
            Metrics of the parent at the step of this record's number, and of the record's own run.
        """
        main = targets.TARGETS[0]
        value = record.value(main.score) if record.state == "scored" else None
        if record.number > self._latest:
            self._latest = record.number
            self._counts["trials"] += 1
            self._counts["tokens"] += record.tokens
            if record.state in self._counts:
                self._counts[record.state] += 1
            if value is not None and record.split == "search":
                better = self._best is None or main.gain(value) > main.gain(self._best)
                self._best = value if better else self._best
        best = {} if self._best is None else {f"best_{main.score}": round(100 * self._best, 6)}
        own = {"trial": float(record.number), **best} if record.split == "search" else {}
        return {**best, **{name: float(n) for name, n in self._counts.items()}}, own


def answers_of(items: Sequence[ItemResult]) -> dict[str, list[Any]]:
    """Per-item answers in the form of MLflow's tables: a row for each item."""
    columns = ["item", "objective", "prompt", "answer", "verdict"]
    rows = [
        [
            item.id,
            item.objective,
            item.prompt if isinstance(item.prompt, str) else item.prompt[-1].content,
            item.completion,
            json.dumps(dict(item.verdict), ensure_ascii=False),
        ]
        for item in items
    ]
    return {"columns": columns, "data": rows}


def params_of(record: Record) -> dict[str, str]:
    """The fields of the recipe."""
    own: dict[str, Any] = to_dict(record.recipe)
    if isinstance(record.recipe, Layered):
        numbers = {**record.recipe.numbers()}
        numbers.pop("share", None)  # the weights say it
        own = numbers | own | {"pair": record.recipe.pair}
    return params(own)


def params(data: Mapping[str, Any]) -> dict[str, str]:
    """Nested mappings as names and values that MLflow accepts; long values are cut."""
    return {
        re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII): short(value, VALUE_LENGTH)
        for name, value in flatten(data).items()
        if value != {}
    }
