"""An engine that fails takes its process with it, and another one scores the trial."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.proof import demo_prompts, demo_sources
from benchmarks.gpu.step import Finding, Given
from objectives.types import Completion, Decoding, Evaluation, Request, Sampling, Score, Split
from search.checkpoints.family import fit
from search.common.errors import EngineDeadError
from search.merging.space.swap import make_space
from search.records.head import StudyHead
from search.records.writer import RecordsWriter
from search.study.tuning.engines import Engines
from search.study.tuning.trainable import Job
from search.study.tuning.tune import run_study
from tests.engine_options import engine_options
from tests.schedules import schedule

TRIALS = 2
KEPT_GIB = 0.5
"""GiB of GPU memory that other processes may have taken meanwhile."""


class Length:
    """An objective that costs nothing to score: the share of answers that are not empty."""

    def __init__(self, name: str, metric: str) -> None:
        self.name, self._metric = name, metric

    def requests(self, split: Split, decoding: Decoding | None = None) -> Sequence[Request]:
        """Four questions of the demo."""
        return [Request(prompt, Sampling(8)) for prompt in demo_prompts()[:4]]

    def score(
        self,
        split: Split,
        completions: Sequence[Completion],
        decoding: Decoding | None = None,
        *,
        first: int | None = None,
    ) -> Evaluation:
        """The share, without items."""
        share = sum(bool(each.text) for each in completions) / len(completions)
        n = len(completions)
        return Evaluation({self._metric: Score(share, share, share, n, n)}, (), None)


class Failing:
    """Builds engines; the first that generates fails as one whose GPU has an error does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, family: Any, options: Any) -> Any:
        """An engine on the family."""
        from search.engine.live import Engine

        engine, folder = Engine(family, options), self._folder
        generate = engine.generate

        def fail_once(*given: Any, **named: Any) -> Any:
            try:
                (folder / "failed").touch(exist_ok=False)
            except FileExistsError:
                return generate(*given, **named)
            (folder / "failed").write_text(str(os.getpid()))
            raise EngineDeadError("an illegal memory access was encountered (made up)")

        engine.generate = fail_once  # type: ignore[method-assign]
        return engine


def run(given: Given) -> list[Finding]:
    """A search through Ray."""
    free = _free(given)
    sources = {name: str(path) for name, path in demo_sources().items()}
    job = Job(
        sources,
        engine_options(max_num_seqs=8, enforce_eager=True, cpu_kv_cache_gib=1),
        (Length("m", "accuracy"), Length("w", "lcpr")),
        own_process=True,
        engine=Failing(given.folder),
    )
    plan = schedule(
        trials=TRIALS,
        sampler="random",
        race=None,
        cpus_per_engine=1,
        gpus_per_engine=0 if given.rehearse else 1,
    )
    records = RecordsWriter.create(given.folder / "failure", StudyHead(plan.name, {}))
    with Engines({plan.name: job}) as engines:
        run_study(
            plan,
            engines=engines,
            space=make_space(
                lang="te", n_layers=fit(sources, check_finite=False).n_layers, n_task=1, n_lang=1
            ),
            records=records,
            baselines=[],
            final=list,
            listeners=[],
        )
    records.close()
    states = [trial.state for trial in records.trials]
    attempts = [trial.attempts for trial in records.trials]
    failed = (given.folder / "failed").read_text()
    others = {trial.host.rpartition(":")[2] for trial in records.trials}
    findings = [
        Finding("trials scored", str(states.count("scored")), str(TRIALS)),
        Finding("engines that the first trial took", str(max(attempts)), "2"),
        Finding("trials scored in the process that failed", str(int(failed in others)), "0"),
        Finding("the process that failed is there", str(Path(f"/proc/{failed}").exists()), "False"),
    ]
    found = [_judged(each) for each in findings]
    if not given.rehearse:
        deadline = time.monotonic() + 30
        while (gone := (free - _free(given)) / 2**30) > KEPT_GIB and time.monotonic() < deadline:
            time.sleep(1)
        found.append(
            Finding(
                "GPU memory that is gone", f"{gone:.2f} GiB", f"{KEPT_GIB:g} GiB", gone <= KEPT_GIB
            )
        )
    return found


def _judged(found: Finding) -> Finding:
    return Finding(found.what, found.figure, found.goal, found.figure == found.goal)


def _free(given: Given) -> int:
    return 0 if given.rehearse else int(torch.cuda.mem_get_info()[0])
