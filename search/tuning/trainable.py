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
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import ray
from ray import tune

from objectives import targets
from objectives.types import (
    Completion,
    Evaluation,
    ItemResult,
    Objective,
    Request,
    Split,
)
from search.checkpoints.family import FittedFamily, fit
from search.checkpoints.sources.node_files import here
from search.engine.contract import EngineOptions, LiveEngine, Materialised, NonFinite
from search.engine.live import Engine
from search.errors import CheckpointError
from search.masking import masked
from search.merging.plan import plan
from search.merging.recipe import Recipe, from_dict
from search.records.items import pack_items
from search.study.outcome import TrialOutcome
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
class _Generated:
    """What an engine answered, and what it wrote before; `done` None: it wrote nothing."""

    answers: list[Completion] | NonFinite
    done: Materialised | None
    seconds: Mapping[str, float]


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
        """Materialise a recipe and score it; an engine's failure is tried again on a new one.

        Never raises: what fails is a failed outcome with its cause.
        """
        start = time.perf_counter()
        outcome = self._run(recipe, split)
        seconds = {**outcome.seconds, "total": time.perf_counter() - start}
        return replace(outcome, seconds=seconds, host=f"{socket.gethostname()}:{os.getpid()}")

    def _run(self, recipe: Recipe, split: Split) -> TrialOutcome:
        try:
            batches = [o.requests(split, recipe.decoding) for o in self._job.objectives]
        except Exception as error:  # of an objective, which does the same wherever it runs
            return _scorer_failed(error)
        reasons: list[str] = []
        while len(reasons) < ENGINES:
            try:
                done = self._generate(recipe, batches)
            except CheckpointError as error:  # this node lacks an expert: no engine helps
                reason = f"node {socket.gethostname()}: {error}\n{EVERY_NODE}"
                return TrialOutcome("failed", reason, "expert")
            except Exception as error:  # EngineError, or whatever a library may raise in it
                reasons.append(f"{type(error).__name__}: {masked(str(error))}")
                self.close()
            else:
                return replace(self._score(recipe, split, batches, done), attempts=1 + len(reasons))
        reason = " / then on a new engine: ".join(reasons)
        return TrialOutcome("failed", reason, "engine", attempts=ENGINES)

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

    def _generate(self, recipe: Recipe, batches: Sequence[Sequence[Request]]) -> _Generated:
        family, engine = self._ready()
        done = engine.materialise(plan(recipe, family.names, family.n_layers))
        if isinstance(done, NonFinite):
            return _Generated(done, None, {})
        begun = time.perf_counter()
        answers = engine.generate([request for batch in batches for request in batch])
        seconds = {"materialise": done.seconds, "generate": time.perf_counter() - begun}
        return _Generated(answers, done, seconds)

    def _score(
        self,
        recipe: Recipe,
        split: Split,
        batches: Sequence[Sequence[Request]],
        generated: _Generated,
    ) -> TrialOutcome:
        answers, done = generated.answers, generated.done
        seconds = dict(generated.seconds)
        if isinstance(answers, NonFinite):
            outcome = TrialOutcome("infeasible", answers.reason)
        else:
            begun, rest = time.perf_counter(), iter(answers)
            own = [list(islice(rest, len(batch))) for batch in batches]
            try:
                pairs = zip(self._job.objectives, own, strict=True)
                outcome = _gather([o.score(split, c, recipe.decoding) for o, c in pairs], answers)
            except Exception as error:  # of an objective: another engine would not help
                outcome = _scorer_failed(error)
            seconds["score"] = time.perf_counter() - begun
        if done is None:
            return replace(outcome, seconds=seconds)
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


def _scorer_failed(error: Exception) -> TrialOutcome:
    _log.error("an objective failed", exc_info=error)
    reason = f"scoring failed: {type(error).__name__}: {masked(str(error))}"
    return TrialOutcome("failed", reason, "scorer")


def _gather(found: Sequence[Evaluation], answers: Sequence[Completion]) -> TrialOutcome:
    reasons = [evaluation.infeasible for evaluation in found if evaluation.infeasible]
    scores = {name: score for evaluation in found for name, score in evaluation.scores.items()}
    undefined = [t.people for t in targets.TARGETS if scores[t.score].value is None]
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
