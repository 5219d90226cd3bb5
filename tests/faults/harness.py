"""One search that is disturbed again and again, and what must hold after each time.

Owns the driver's process and everything that it starts, the study's records and the checks; besides
it may have a cluster to join and an MLflow server to send to. What is done to them is
`tests.faults.inject`'s.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from search.run.__main__ import UNDECIDED
from search.study.tracking.runs import default_uri
from tests.cluster.nodes import TOKEN, Nodes, processes
from tests.e2e.commands import ROOT, environment
from tests.mlflow_server import MlflowServer

MARK = "LAYER_SWAP_FAULTS"
"""Environment variable that every process of a run inherits: how orphans are recognised."""

SOON, ALONE = 20.0, 120.0
"""Seconds after which no engine lives that a driver started, and nothing at all: a process of Ray's
that is just starting when the driver is killed looks for it for half a minute, and Ray's agents,
which hear of their node's end by a pipe that it holds, end after that one."""

ACTORS = ("ray::MergeTrial", "ray::ResourceTrainable")
"""How a process with an engine is called: between its trials, and in one."""

SPACE = [
    "family=tests/e2e/small.yaml",
    "objective.mgsm.search_items=24",
    "objective.mgsm.held_out_items=24",
    "objective.lcpr.search_items=12",
    "objective.lcpr.held_out_items=12",
    "search.soups=first",
    "search.baselines={soup: 0, task_arithmetic: 0, ties: 0, slerp: 0}",
    "search.cpus_per_engine=1",
    # Used up by the budget: which recipes are scored does not depend on the order of events.
    # The default sampler, whose races a study that goes on judges as an undisturbed one does.
    "search.trials=500",
    "space.pairs=[[0,0]]",
    "space.t_b=[0,0]",
    "space.t_u=[0,0]",
]
"""A search whose set of trials, and so its final table, is the same however it is disturbed."""

ENDED = (0, UNDECIDED)
"""Exit statuses of a search that came to its end: the fake engine's recipes may be all alike."""

SMALL, LARGE = ["space.b=[0,1]", "space.u=[0,2]"], ["space.b=[0,5]", "space.u=[0,4]"]


@dataclass
class Search:
    """A study, its driver while it runs, and what is known to have ended.

    Attributes:
        scratch: where its files are; the folder of studies may be a disk of its own.
        name: the study.
        arguments: more arguments of `search.run`, when the study begins.
        engine: `fake`, or `real` for vLLM.
        seconds: what a generation of the fake engine takes, so that there is something to disturb.
        wait: longest time for one thing to happen, in seconds.
        cluster: nodes that the driver joins; else it starts Ray for itself.
        workers: those of them that engines run on.
        server: what the driver tracks to; else a database in the folder of studies.
    """

    scratch: Path
    name: str
    arguments: Sequence[str] = ()
    engine: str = "fake"
    seconds: float = 0.3
    wait: float = 300.0
    cluster: Nodes | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    server: MlflowServer | None = None
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    process: subprocess.Popen[bytes] | None = None
    shm: set[Path] = field(default_factory=set)
    starts: int = 0

    @property
    def out(self) -> Path:
        """The folder of studies."""
        return self.scratch / "studies"

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.out / self.name

    @property
    def control(self) -> Path:
        """Where the fake engine's faults are ordered."""
        return self.scratch / f"{self.name}.faults"

    @property
    def log(self) -> Path:
        """What the last driver printed."""
        return self.scratch / f"{self.name}.{self.starts}.log"

    @property
    def running(self) -> bool:
        """Whether the driver is there."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Begin the study, or go on with it."""
        self.control.mkdir(parents=True, exist_ok=True)
        self.starts += 1
        module = ["search.run"]
        if self.engine == "fake":
            faults = {"folder": str(self.control), "seconds": self.seconds, "not_finite": 11}
            module = ["tests.faults.driver", json.dumps(faults)]
        what = ["--resume", str(self.folder)]
        if not (self.folder / "study.yaml").exists():
            what = ["--lang", "te", f"--out={self.out}", f"--study={self.name}"]
            what += [*SPACE, *self.arguments]
        variables = environment() | {MARK: self.mark}
        if self.cluster is not None:
            variables |= TOKEN | {"RAY_ADDRESS": self.cluster.address}
        if self.server is not None:
            what.append(f"--tracking-uri={self.server.address}")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *module, *what],
                cwd=ROOT,
                env=variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def trials(self) -> list[dict[str, Any]]:
        """The records, as written."""
        file = self.folder / "trials.jsonl"
        if not file.exists():
            return []
        lines = file.read_bytes().split(b"\n")[:-1]  # the last may be half written
        return [json.loads(line) for line in lines if line]

    def until(
        self, true: Callable[[], object], what: str | Callable[[], str], wait: float | None = None
    ) -> None:
        """Wait for something."""
        deadline = time.monotonic() + (wait or self.wait)
        while not true():
            if time.monotonic() > deadline:
                named = what if isinstance(what, str) else what()
                raise AssertionError(f"{self.name}: not in time: {named}\n{self.tail()}")
            time.sleep(0.02)

    def until_ended(self, n: int) -> bool:
        """Wait for n ended trials; whether the search still runs then."""
        self.until(lambda: len(self.trials()) >= n or not self.running, f"{n} trials")
        return self.running

    def processes(self) -> list[psutil.Process]:
        """Everything that this search started and that lives, the driver included."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                own = process.environ().get(MARK) == self.mark
                if own and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found + (self.actors() if self.cluster is not None else [])

    def actors(self) -> list[psutil.Process]:
        """The processes of the engines that work, whatever started them."""
        found = self.processes() if self.cluster is None else []
        for node in self.workers:
            found += processes(node)
        actors = []
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.cmdline()[:1] and process.cmdline()[0].startswith(ACTORS):
                    actors.append(process)
        return actors

    def children(self) -> list[psutil.Process]:
        """The processes that engines have started."""
        found = []
        for actor in self.actors():
            with contextlib.suppress(psutil.NoSuchProcess):
                found += actor.children(recursive=True)
        return found

    def add_worker(self) -> None:
        """One more node for an engine."""
        assert self.cluster is not None
        self.workers.append(self.cluster.add(cpus=1))

    def printed(self) -> str:
        """What the last driver printed."""
        return self.log.read_text("utf-8", "replace") if self.starts else ""

    def tail(self) -> str:
        """The end of it."""
        return self.printed()[-3000:]

    def check_records(self, before: Sequence[dict[str, Any]]) -> None:
        """No ended trial is lost or changed, and none is scored twice."""
        after = self.trials()
        assert after[: len(before)] == list(before), f"{self.name}: ended trials were lost"
        scored = [(t["key"], t["split"]) for t in after]
        assert len(set(scored)) == len(scored), f"{self.name}: a recipe was scored twice"

    def check_tracking(self) -> None:
        """MLflow holds every trial, and each of them once; it is sent what a driver said it lacks.

        A driver does not wait long for a server that is slow, as on a busy machine.
        """
        if "MLflow lacks " in self.printed():
            uri = self.server.address if self.server else default_uri(self.out)
            command = [sys.executable, "-m", "search.sync", str(self.folder)]
            done = subprocess.run(
                [*command, "--tracking-uri", uri],
                cwd=ROOT,
                env=environment(),
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            print(f"{self.name}: MLflow lacked runs, search.sync sent them", flush=True)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.tracking import MlflowClient

        store = self.server.store if self.server else default_uri(self.out)
        client: Any = MlflowClient(store)
        experiments = [e.experiment_id for e in client.search_experiments()]
        found = client.search_runs(experiments, f"tags.study = '{self.name}'", max_results=5000)
        sent = sorted(run.data.tags.get("trial", "") for run in found)
        held = sorted(["", *(f"{t['key']}.{t['split']}" for t in self.trials())])  # the parent's ""
        assert sent == held, f"{self.name}: MLflow's runs are not the trials\n{self.tail()}"

    @property
    def finished(self) -> bool:
        """Whether the driver came to the study's end, with a recommendation or without one."""
        return self.process is not None and self.process.returncode in ENDED

    def check_end(self, *statuses: int, within: float = 30.0) -> float:
        """The driver ends with such a status, and nothing of it is left; seconds that it took."""
        began = time.monotonic()
        assert self.process is not None
        self.until(lambda: not self.running, "the driver's end", within)
        took = time.monotonic() - began
        assert self.process.returncode in statuses, (self.process.returncode, self.tail())
        if self.finished:
            undecided = "no recommendation: " in self.printed()
            assert self.process.returncode == ENDED[undecided], self.tail()
        self.until(lambda: not self.actors(), lambda: f"engines: {self.actors()}", SOON)
        self.until(lambda: not self.processes(), lambda: f"orphans: {self.processes()}", ALONE)
        self.until(lambda: not self.leaked(), lambda: f"/dev/shm: {self.leaked()}", 10.0)
        return took

    def note_shared_memory(self) -> None:
        """Remember which files in /dev/shm are this search's; others use it as well."""
        for process in self.processes():
            try:
                maps = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
                opened = [os.readlink(fd) for fd in Path(f"/proc/{process.pid}/fd").iterdir()]
            except OSError:
                continue
            names = [line.partition("/dev/shm/")[2] for line in (*maps, *opened)]
            self.shm |= {Path("/dev/shm") / name for name in names if name}

    def leaked(self) -> set[Path]:
        """What of it is still there; a name that ends in "(deleted)" is not."""
        return {file for file in self.shm if file.exists()}

    def kill_all(self) -> None:
        """After a check that failed: leave nothing behind."""
        for process in self.processes():
            process.kill()
        if self.process is not None:
            self.process.wait()


def compare(disturbed: Search, calm: Search) -> bool:
    """Hold a disturbed study to the same one undisturbed; whether their final tables are equal.

    The set of trials, every score and the table must be the same; only where a trial failed by a
    fault, as one that the watchdog ended, the table may be another, and so may what it was not
    there to beat: a race that it would have stopped goes on, or another trial stops it.
    """
    want = {(t["key"], t["split"]): t for t in calm.trials()}
    have = {(t["key"], t["split"]): t for t in disturbed.trials()}
    failed = {name for name, trial in have.items() if trial["state"] == "failed"}
    for name in have.keys() & want.keys() - failed:
        if failed and "stopped" in (have[name]["state"], want[name]["state"]):
            continue
        for what in ("state", "scores", "reason", "recipe"):
            was, instead = want[name], have[name]
            assert instead[what] == was[what], (disturbed.name, what, was, instead)
    if not failed:
        assert have.keys() == want.keys(), (disturbed.name, have.keys() ^ want.keys())
        table = "report.tsv"
        assert (disturbed.folder / table).read_text() == (calm.folder / table).read_text()
    return not failed
