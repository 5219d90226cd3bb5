"""The Ray Tune trainable: one engine kept alive in an actor, one recipe after another.

Owns the life of a trial inside the actor: materialise, generate, score, and what becomes of
failures. Knows nothing of Optuna, MLflow or of the records' files; what it found goes to the driver
as one plain result.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray import tune

from objectives.targets import TARGETS
from objectives.types import (
    Completion,
    Evaluation,
    ItemResult,
    Objective,
    Score,
    Split,
)
from search.checkpoints.family import FittedFamily, fit
from search.checkpoints.sources.node_files import here
from search.engine.contract import EngineOptions, LiveEngine, NonFinite
from search.engine.live import Engine
from search.errors import CheckpointError
from search.masking import masked
from search.merging.plan import plan
from search.merging.recipe import Recipe, from_dict
from search.records.items import pack_items
from search.records.record import State
from search.study.retries import ENGINES

_log = logging.getLogger(__name__)

ITEMS_LIMIT = 64 * 1024**2
"""Bytes of packed per-item answers that one trial may send to the driver."""

EVERY_NODE = (
    "Every node needs every expert: put them at the same path there or on a shared filesystem, or "
    "name hub ids or URLs (s3://...) in the family's YAML, which each node fetches by itself"
)


@dataclass(frozen=True)
class Job:
    """All that an actor needs, sent once.

    Attributes:
        sources: source name -> where each node finds it: a folder, a hub id, a URL.
        options: how the engine is built.
        objectives: what a merge is scored on, with their data.
        allow_bin: read pickled weights where there are no safetensors.
        driver_folder: the driver's working directory; see
            `search.checkpoints.sources.node_files.here`.
        engine: builds the engine; may raise `EngineError`.
    """

    sources: Mapping[str, str]
    options: EngineOptions
    objectives: Sequence[Objective]
    allow_bin: bool = False
    driver_folder: str = ""
    engine: Callable[[FittedFamily, EngineOptions], LiveEngine] = Engine


@dataclass(frozen=True)
class TrialOutcome:
    """What a trial found; travels to the driver as the result's `outcome`.

    Fields as in `search.records.record.Record`; `items` holds the packed per-item answers.
    """

    state: State
    reason: str = ""
    scores: Mapping[str, Score] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    tokens: int = 0
    written: int = 0
    layers: int = 0
    attempts: int = 1
    host: str = ""
    note: str = ""
    items: bytes = field(default=b"", repr=False)  # Tune formats results that it never prints


class TrialRunner:
    """Scores recipes on one engine, which it builds when first needed and again when it fails.

    The experts are looked up, and fetched if need be, on the node where this runs.
    """

    def __init__(self, job: Job) -> None:
        """Take a job; nothing is opened yet."""
        self._job = job
        self._family: FittedFamily | None = None
        self._engine: LiveEngine | None = None

    def run(self, recipe: Recipe, split: Split) -> TrialOutcome:
        """Materialise a recipe and score it; an engine's failure is tried again on a new one."""
        start = time.perf_counter()
        host = f"{socket.gethostname()}:{os.getpid()}"
        causes: list[str] = []
        for attempt in range(1, ENGINES + 1):
            try:
                outcome = self._attempt(recipe, split)
            except CheckpointError as error:  # this node lacks an expert: no engine helps
                total = time.perf_counter() - start
                reason = f"node {socket.gethostname()}: {error}\n{EVERY_NODE}"
                return TrialOutcome("failed", reason, seconds={"total": total}, host=host)
            except Exception as error:  # EngineError, or whatever a library may raise in it
                causes.append(f"{type(error).__name__}: {masked(str(error))}")
                self.close()
                continue
            seconds = {**outcome.seconds, "total": time.perf_counter() - start}
            return replace(outcome, seconds=seconds, attempts=attempt, host=host)
        reason = " / then on a new engine: ".join(causes)
        total = time.perf_counter() - start
        return TrialOutcome("failed", reason, seconds={"total": total}, attempts=ENGINES, host=host)

    def close(self) -> None:
        """Stop the engine."""
        engine, self._engine = self._engine, None
        if engine is not None:
            try:
                engine.close()
            except Exception:  # one that is broken; its processes end with the actor
                _log.exception("an engine could not be stopped")

    def fetch(self) -> None:
        """Have the experts on this node; what is wrong with them is the trial's to tell."""
        with suppress(CheckpointError):
            self._experts()

    def _attempt(self, recipe: Recipe, split: Split) -> TrialOutcome:
        family, engine = self._ready()
        done = engine.materialise(plan(recipe, family.names, family.n_layers))
        if isinstance(done, NonFinite):
            return TrialOutcome("infeasible", done.reason)
        begun = time.perf_counter()
        decoding = recipe.decoding
        batches = [objective.requests(split, decoding) for objective in self._job.objectives]
        answers = engine.generate([request for batch in batches for request in batch])
        generated = time.perf_counter()
        seconds = {"materialise": done.seconds, "generate": generated - begun}
        if isinstance(answers, NonFinite):
            outcome = TrialOutcome("infeasible", answers.reason)
            return replace(outcome, seconds=seconds, written=done.bytes, layers=done.layers)
        found, position = [], 0
        for objective, batch in zip(self._job.objectives, batches, strict=True):
            own = answers[position : position + len(batch)]
            found.append(objective.score(split, own, decoding))
            position += len(batch)
        outcome = _gather(found, answers)
        seconds["score"] = time.perf_counter() - generated
        return replace(outcome, seconds=seconds, written=done.bytes, layers=done.layers)

    def _ready(self) -> tuple[FittedFamily, LiveEngine]:
        family = self._experts()
        if self._engine is None:
            self._engine = self._job.engine(family, self._job.options)
        return family, self._engine

    def _experts(self) -> FittedFamily:
        if self._family is None:  # the engine looks for NaN in what it merges
            job = self._job
            found = {name: here(place, job.driver_folder) for name, place in job.sources.items()}
            self._family = fit(found, check_finite=False, allow_bin=job.allow_bin)
        return self._family


def _gather(found: Sequence[Evaluation], answers: Sequence[Completion]) -> TrialOutcome:
    reasons = [evaluation.infeasible for evaluation in found if evaluation.infeasible]
    scores = {name: score for evaluation in found for name, score in evaluation.scores.items()}
    undefined = [t.people for t in TARGETS if scores[t.score].value is None]
    if undefined and not reasons:
        reasons = [f"{', '.join(undefined)} is not defined: nothing could be scored"]
    items, note = _bounded([item for evaluation in found for item in evaluation.items])
    return TrialOutcome(
        "infeasible" if reasons else "scored",
        "; ".join(reasons),
        scores=scores,
        tokens=sum(answer.n_tokens for answer in answers),
        note=note,
        items=items,
    )


def _bounded(results: Sequence[ItemResult]) -> tuple[bytes, str]:
    """Packed answers of at most `ITEMS_LIMIT`, and what was left out; verdicts always stay."""
    packed = pack_items(results)
    size = f"{len(packed) / 1024**2:.0f} MiB of answers are more than {ITEMS_LIMIT / 1024**2:.0f}"
    note = ""
    if len(packed) > ITEMS_LIMIT:
        results, note = [replace(r, steps=()) for r in results], f"{size}: kept without traces"
        packed = pack_items(results)
    if len(packed) > ITEMS_LIMIT:
        results = [replace(r, prompt="", completion="") for r in results]
        packed, note = pack_items(results), f"{size}: kept without prompts and completions"
    return packed, note


class MergeTrial(tune.Trainable):
    """Tune's view of `TrialRunner`; with `reuse_actors` one instance serves many trials."""

    def setup(self, config: dict[str, Any], job: Job) -> None:
        """Keep the job; the engine starts with the first step, where a failure can be told."""
        self._runner = TrialRunner(job)

    def node(self) -> str:
        """Id of the node that the engine is on."""
        return str(ray.get_runtime_context().get_node_id())

    def fetch(self) -> None:
        """Return when the experts are on the engine's node; the watchdog starts to count then."""
        self._runner.fetch()

    def step(self) -> dict[str, Any]:
        """Run the whole trial; an exception here would cost the actor and its engine."""
        recipe = from_dict(json.loads(self.config["recipe"]))
        outcome = self._runner.run(recipe, self.config["split"])
        return {"outcome": outcome, "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next recipe; the engine stays."""
        return True

    def cleanup(self) -> None:
        """Stop the engine with the actor."""
        self._runner.close()
