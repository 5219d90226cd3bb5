"""Scores the recipes of a landscape on engines of one thread, one for each core.

Owns the folder of a recording: a line of JSON for each recipe, in one file for each engine. Stopped
at any time it goes on where it was: what is in the folder or is shipped is not scored again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.landscape.design import N_LAYERS, recipes
from benchmarks.landscape.packed import FOLDER, lines, read
from objectives.types import Completion, Split
from search.config.compose import load
from search.config.schema import Config
from search.engine.contract import NonFinite
from search.merging.plan import plan
from search.merging.recipe import key, to_dict
from search.records import durable

SPLITS: tuple[Split, ...] = ("search", "held_out")
VERDICTS = {"mgsm": ("correct", "in_language"), "lcpr": ("scored", "line_ok", "word_ok")}
"""Objective -> what is kept of each of its items."""


def configuration(lang: str, overrides: Sequence[str]) -> Config:
    """The demo's, in a language, with engines that may share a machine."""
    return load(overrides, {"lang": lang})


def record(
    out: Path, lang: str, overrides: Sequence[str], objectives: str, limit: int, engines: int
) -> int:
    """Score what the folder lacks; the exit status of the worst engine."""
    out.mkdir(parents=True, exist_ok=True)
    quiet = {"OMP_NUM_THREADS": "1", "VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1"}
    variables = {**os.environ, **quiet}
    command = [sys.executable, "-m", "benchmarks.landscape", "work", str(out), "--lang", lang]
    command += ["--objectives", objectives, "--limit", str(limit), "--engines", str(engines)]
    started = [
        subprocess.Popen([*command, "--engine", str(i), *overrides], env=variables)
        for i in range(engines)
    ]
    try:
        return max(process.wait() for process in started)
    finally:
        for process in started:
            process.terminate()


def work(
    out: Path,
    lang: str,
    overrides: Sequence[str],
    objectives: str,
    limit: int,
    engine: int,
    engines: int,
) -> None:
    """One engine's part: every so many-th recipe that the folder lacks."""
    from search.checkpoints.family import Family, fit
    from search.engine.contract import EngineOptions
    from search.engine.live import Engine
    from search.run.prepare import build_objectives

    config = configuration(lang, overrides)
    done = {line["key"] for line in lines(out)}
    shipped = FOLDER / f"{lang}.npz"
    if shipped.exists():
        done |= set(read(shipped).keys)
    asked_for = recipes(config)[:limit]
    mine = [r for r in asked_for if key(r, N_LAYERS) not in done][engine::engines]
    if not mine:
        return
    judges = [
        judge
        for name, judge in build_objectives(config.objective, lang).items()
        if name in objectives.split(",")
    ]
    sources = Family(**config.family.model_dump()).sources(lang)
    family = fit({name: Path(place) for name, place in sources.items()}, check_finite=False)
    live = Engine(family, EngineOptions(**config.search.engine.model_dump(), seed=0))
    asked = [(judge, split, judge.requests(split)) for judge in judges for split in SPLITS]
    file = out / f"{lang}-{engine}.jsonl"
    durable.read_lines(file, mend=True)  # half a line must not be the beginning of the next
    for recipe in mine:
        begun = time.perf_counter()
        live.materialise(plan(recipe, family.names, family.n_layers))
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
    """For each objective and split, a string of 0 and 1 for each verdict, and the tokens."""
    found: dict[str, Any] = {}
    rest = iter(answers)
    for judge, split, batch in asked:
        own = [next(rest) for _ in batch]
        items = judge.score(split, own).items
        found[f"{judge.name}.{split}.tokens"] = [completion.n_tokens for completion in own]
        for verdict in VERDICTS[judge.name]:
            bits = "".join("1" if item.verdict[verdict] else "0" for item in items)
            found[f"{judge.name}.{split}.{verdict}"] = bits
    return found
