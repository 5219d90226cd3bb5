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
from typing import Any

import ray
from ray import tune

from objectives import targets
from objectives.target import Target
from objectives.types import Objective, Split
from search.checkpoints.family import FittedFamily, fit
from search.checkpoints.sources.node_files import here
from search.common.errors import CheckpointError, EngineProcessError
from search.common.garbage import keep_what_is_there
from search.common.masking import masked
from search.engine.contract import EngineOptions, LiveEngine, NonFinite
from search.engine.live import Engine
from search.merging.recipe import Recipe, from_dict
from search.study.outcome import TrialOutcome
from search.study.race import Threshold
from search.study.retries import ENGINES
from search.study.tuning.judging import Judging, scorer_failed

_log = logging.getLogger(__name__)

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
        targets: what of it is optimised.
        own_process: whether an engine that failed takes its process with it, so that the next one
            has a new one: an error of CUDA stays in a process, and so does memory.
        engine: builds the engine; may raise `EngineError`.
    """

    sources: Mapping[str, str]
    options: EngineOptions
    objectives: Sequence[Objective]
    allow_bin: bool = False
    driver_folder: str = ""
    targets: tuple[Target, ...] = targets.DEFAULT
    own_process: bool = False
    engine: Callable[[FittedFamily, EngineOptions], LiveEngine] = Engine


class TrialRunner:
    """Scores recipes on one engine, which it builds when first needed and again when it fails.

    The experts are looked up, and fetched if need be, on the node where this runs.
    """

    def __init__(self, job: Job) -> None:
        """Take a job; nothing is opened yet."""
        self._job = job
        targets.use(job.targets)
        self._family: FittedFamily | None = None
        self._engine: LiveEngine | None = None
        self._served: FittedFamily | None = None  # by the engine

    def take(self, job: Job) -> None:
        """Go on with another study; the engine stays where it can serve that one's experts."""
        if job is self._job:
            return
        if (job.options, job.engine) != (self._job.options, self._job.engine):
            self.close()
        self._job, self._family = job, None
        targets.use(job.targets)

    def run(self, recipe: Recipe, split: Split, threshold: Threshold | None = None) -> TrialOutcome:
        """Materialise a recipe and score it; an engine's failure is tried again on a new one.

        Never raises: what fails is a failed outcome with its cause.

        Args:
            recipe: what is merged.
            split: the items that it is scored on.
            threshold: what it is held to before its end; None: it is scored in full.
        """
        start = time.perf_counter()
        outcome = self._run(recipe, split, threshold)
        seconds = {**outcome.seconds, "total": time.perf_counter() - start}
        return replace(outcome, seconds=seconds, host=f"{socket.gethostname()}:{os.getpid()}")

    def _run(self, recipe: Recipe, split: Split, threshold: Threshold | None) -> TrialOutcome:
        try:
            judging = Judging(self._job.objectives, recipe, split)
        except Exception as error:  # of an objective, which does the same wherever it runs
            return scorer_failed(error)
        reasons: list[str] = []
        while len(reasons) < (1 if self._job.own_process else ENGINES):
            try:
                outcome = self._answered(recipe, judging, threshold)
            except CheckpointError as error:  # this node lacks an expert: no engine helps
                reason = f"node {socket.gethostname()}: {error}\n{EVERY_NODE}"
                return TrialOutcome("failed", reason, "expert")
            except Exception as error:  # EngineError, or whatever a library may raise in it
                reasons.append(f"{type(error).__name__}: {masked(str(error))}")
                self.close()
            else:
                return replace(outcome, attempts=1 + len(reasons))
        reason = " / then on a new engine: ".join(reasons)
        return TrialOutcome("failed", reason, "engine", attempts=len(reasons))

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

    def _answered(
        self, recipe: Recipe, judging: Judging, threshold: Threshold | None
    ) -> TrialOutcome:
        """Materialise, then generate and score as much at a time as is looked at."""
        family, engine = self._ready()
        done = engine.materialise(family.plan(recipe))
        if isinstance(done, NonFinite):
            return TrialOutcome("infeasible", done.reason)
        seconds = {"materialise": done.seconds, "generate": 0.0, "score": 0.0}
        judging.begin()
        for share in (*(threshold.rules.looks if threshold else ()), 1.0):
            begun = time.perf_counter()
            answers = engine.generate(judging.asked(share))
            ended = time.perf_counter()
            outcome = (
                TrialOutcome("infeasible", answers.reason)
                if isinstance(answers, NonFinite)
                else judging.answered(answers, share, threshold)
            )
            seconds["generate"] += ended - begun
            seconds["score"] += time.perf_counter() - ended
            if outcome is not None:
                return replace(outcome, seconds=seconds, written=done.bytes, layers=done.layers)
        raise AssertionError("all is answered, and there is no outcome")

    def _ready(self) -> tuple[FittedFamily, LiveEngine]:
        family = self._experts()
        if self._engine is not None and self._served is not family:
            if not self._engine.adopt(family):
                self.close()
        if self._engine is None:
            self._engine = self._job.engine(family, self._job.options)
        self._served = family
        return family, self._engine

    def _experts(self) -> FittedFamily:
        if self._family is None:  # the engine looks for NaN in what it merges
            job = self._job
            found = {name: here(place, job.driver_folder) for name, place in job.sources.items()}
            self._family = fit(found, check_finite=False, allow_bin=job.allow_bin)
        return self._family


class MergeTrial(tune.Trainable):
    """Tune's view of `TrialRunner`; with `reuse_actors` one instance serves many trials."""

    def setup(self, config: dict[str, Any], jobs: Mapping[str, Job]) -> None:
        """Keep the jobs; the engine starts with the first step, where a failure can be told.

        Args:
            config: the first trial's.
            jobs: study name -> what its trials need.
        """
        self._jobs = jobs
        job = jobs[config["study"]]
        self._runner, self._own_process = TrialRunner(job), job.own_process

    def node(self) -> str:
        """Id of the node that the engine is on."""
        return str(ray.get_runtime_context().get_node_id())

    def fetch(self) -> None:
        """Return when the experts are on the engine's node; the watchdog starts to count then."""
        self._runner.fetch()

    def step(self) -> dict[str, Any]:
        """Run the whole trial; an exception here costs the actor and its process.

        Raises:
            EngineProcessError: the engine failed, and its process must not have another.
        """
        recipe = from_dict(json.loads(self.config["recipe"]))
        threshold = self.config["threshold"]
        outcome = self._runner.run(
            recipe,
            self.config["split"],
            None if threshold is None else Threshold.from_json(threshold),
        )
        if outcome.cause == "engine" and self._own_process:
            raise EngineProcessError(outcome.reason)
        return {"outcome": outcome, "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next recipe, perhaps another study's; the engine stays if it can."""
        job = self._jobs[new_config["study"]]
        self._runner.take(job)
        self._own_process = job.own_process
        return True

    def cleanup(self) -> None:
        """Stop the engine with the actor, whose process ends next: what is in it goes with it."""
        keep_what_is_there()  # vLLM looks for garbage twice when it stops
        self._runner.close()
