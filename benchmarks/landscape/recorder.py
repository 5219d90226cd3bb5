"""Scores the recipes of a landscape on engines of one thread, one for each core.

Owns the folder of a recording: a line of JSON for each recipe, in one file for each engine. Stopped
at any time it goes on where it was: what is in the folder or is shipped is not scored again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.landscape.design import DESIGNS, N_LAYERS, Design
from benchmarks.landscape.packed import FOLDER, lines, read
from objectives.types import Completion, Split
from search.common.ending import as_ctrl_c
from search.config.compose import load
from search.config.schema import Config
from search.engine.contract import NonFinite
from search.merging.recipe import Recipe, key, to_dict
from search.records import durable

SPLITS: tuple[Split, ...] = ("search", "held_out")
VERDICTS = {"mgsm": ("correct", "in_language"), "lcpr": ("scored", "line_ok", "word_ok")}
"""Objective -> what is kept of each of its items."""
SHIPPED_FAMILY = "demo"
"""The family whose landscapes are shipped."""


@dataclass(frozen=True)
class Recording:
    """What is recorded, and where.

    Attributes:
        out: folder of the recording.
        lang: language code.
        overrides: of the configuration, such as "family=demo_confused".
        objectives: names, with commas between.
        limit: only so many recipes.
        design: which recipes; those of a map are asked search items alone.
    """

    out: Path
    lang: str
    overrides: tuple[str, ...]
    objectives: str
    limit: int
    design: Design = "whole"

    def configuration(self) -> Config:
        """The demo's, in the language, with the overrides."""
        return load(self.overrides, {"lang": self.lang})

    def splits(self) -> tuple[Split, ...]:
        """Whose items are answered."""
        return SPLITS[:1] if self.design == "map" else SPLITS

    def recipes(self, config: Config) -> list[Recipe]:
        """What is to be recorded, in this order."""
        return DESIGNS[self.design](config)[: self.limit]

    def done(self, config: Config) -> set[str]:
        """Keys of what is in the folder, or shipped of the same family."""
        keys = {line["key"] for line in lines(self.out)}
        if config.family.name == SHIPPED_FAMILY and self.design != "map":
            for file in FOLDER.glob(f"{self.lang}*.npz"):
                keys |= set(read(file).keys)
        return keys

    def arguments(self) -> list[str]:
        """The command line of one engine's part, without the engine."""
        named = [str(self.out), "--lang", self.lang, "--objectives", self.objectives]
        named += ["--limit", str(self.limit), "--design", self.design]
        return [*named, *self.overrides]


def record(asked: Recording, engines: int) -> int:
    """Score what the folder lacks; the exit status of the worst engine."""
    asked.out.mkdir(parents=True, exist_ok=True)
    quiet = {"OMP_NUM_THREADS": "1", "VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1"}
    variables = {**os.environ, **quiet}
    command = [sys.executable, "-m", "benchmarks.landscape", "work", *asked.arguments()]
    command += ["--engines", str(engines)]
    with as_ctrl_c(signal.SIGTERM):  # who stops it stops the engines
        started = [
            subprocess.Popen([*command, "--engine", str(i)], env=variables) for i in range(engines)
        ]
        try:
            return max(process.wait() for process in started)
        finally:
            for process in started:
                process.terminate()


def work(recording: Recording, engine: int, engines: int) -> None:
    """One engine's part: every so many-th recipe that the folder lacks."""
    from search.checkpoints.family import Family, fit
    from search.config.scored import build_objectives
    from search.engine.contract import EngineOptions
    from search.engine.live import Engine

    config, lang = recording.configuration(), recording.lang
    done = recording.done(config)
    missing = [r for r in recording.recipes(config) if key(r, N_LAYERS) not in done]
    mine = missing[engine::engines]
    if not mine:
        return
    judges = [
        judge
        for name, judge in build_objectives(config.objective, lang).items()
        if name in recording.objectives.split(",")
    ]
    sources = Family(**config.family.model_dump()).sources(lang)
    family = fit({name: Path(place) for name, place in sources.items()}, check_finite=False)
    kwargs = config.objective.chat_template_kwargs
    options = EngineOptions(
        **config.search.engine.model_dump(), seed=0, chat_template_kwargs=kwargs
    )
    live = Engine(family, options)
    asked = [
        (judge, split, judge.requests(split)) for judge in judges for split in recording.splits()
    ]
    file = recording.out / f"{lang}-{engine}.jsonl"
    durable.read_lines(file, mend=True)  # half a line must not be the beginning of the next
    for recipe in mine:
        begun = time.perf_counter()
        live.materialise(family.plan(recipe))
        answers = live.generate([request for _, _, batch in asked for request in batch])
        seconds = time.perf_counter() - begun
        line: dict[str, Any] = {"key": key(recipe, N_LAYERS), "recipe": to_dict(recipe)}
        line["seconds"] = round(seconds, 3)
        if isinstance(answers, NonFinite):
            line["infeasible"] = answers.reason
        else:
            line |= _judged(asked, answers)
        durable.append_line(file, json.dumps(line, separators=(",", ":")).encode() + b"\n")
    live.close()


def _judged(asked: Sequence[Any], answers: Sequence[Completion]) -> dict[str, Any]:
    """Scores; for each objective and split a string of 0 and 1 for each verdict, and the tokens."""
    found: dict[str, Any] = {}
    scores = found["scores"] = {}
    rest = iter(answers)
    for judge, split, batch in asked:
        own = [next(rest) for _ in batch]
        evaluation = judge.score(split, own)
        items = evaluation.items
        for name, score in evaluation.scores.items():
            scores[f"{split}.{name}"] = score.value
        found[f"{judge.name}.{split}.tokens"] = [completion.n_tokens for completion in own]
        for verdict in VERDICTS[judge.name]:
            bits = "".join("1" if item.verdict[verdict] else "0" for item in items)
            found[f"{judge.name}.{split}.{verdict}"] = bits
    return found
