"""Ray's set-up, and engines that go from one study to the next.

Whole studies on Ray are in tests/faults, tests/cluster and tests/e2e.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray

from search.common.errors import ConfigError, StudyError
from search.study.tuning import engines
from search.study.tuning.trainable import Job
from search.study.tuning.watch import Watch
from tests.engine_options import engine_options
from tests.fake_engine import FakeEngine
from tests.schedules import schedule


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "fits"),
    [
        ([{"CPU": 2.0}], 2, 0, True),
        ([{"CPU": 2.0}], 2.5, 0, False),
        ([{"CPU": 2.0}, {"CPU": 8.0, "GPU": 1.0}], 8, 1, True),
        ([{"CPU": 8.0}, {"CPU": 2.0, "GPU": 1.0}], 8, 1, False),  # not on one node
    ],
)
def test_one_node_has_room_for_an_engine(
    monkeypatch: pytest.MonkeyPatch,
    nodes: list[dict[str, float]],
    cpus: float,
    gpus: float,
    fits: bool,
) -> None:
    for module in ("engines", "watch"):
        monkeypatch.setattr(
            f"search.study.tuning.{module}.resources", lambda excluded_nodes=(): nodes
        )
    plan = schedule(cpus_per_engine=cpus, gpus_per_engine=gpus)
    if fits:
        engines.room_for_engine(plan, Watch(plan))
        return
    with pytest.raises(ConfigError) as error:
        engines.room_for_engine(plan, Watch(plan))
    text = str(error.value)
    assert text.startswith(f"no node has {cpus:g} CPUs and {gpus:g} GPUs for one engine (nodes: ")
    assert all(f"{n['CPU']:g} CPUs, {n.get('GPU', 0):g} GPUs" in text for n in nodes)
    assert text.endswith("lower search.cpus_per_engine or search.gpus_per_engine")


@pytest.mark.parametrize(
    ("flag", "variable", "joined"),
    [(None, None, None), ("a:1", None, "a:1"), (None, "b:2", "b:2"), ("a:1", "b:2", "a:1")],
)
def test_a_cluster_is_joined_or_ray_is_started(
    monkeypatch: pytest.MonkeyPatch, flag: str | None, variable: str | None, joined: str | None
) -> None:
    """Real Ray asks a cluster that is away for minutes: what it is told stands for it here."""
    told: dict[str, Any] = {}

    def refuse(**given: Any) -> None:
        told.update(given)
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(os, "environ", dict(os.environ))
    os.environ.pop("RAY_ADDRESS", None)
    if variable:
        os.environ["RAY_ADDRESS"] = variable
    monkeypatch.setattr(ray, "init", refuse)
    job = Job({}, engine_options(), (), engine=FakeEngine)
    where = f"the cluster at {joined} cannot be joined" if joined else "Ray did not start"
    with pytest.raises(StudyError, match=f"^{where}: nobody answers; then --resume the study"):
        engines.start_ray(schedule(address=flag), job)
    assert told["address"] == (joined or "local")
    assert told["log_to_driver"] is bool(joined)
    assert ("include_dashboard" in told) is not bool(joined)
    assert told["runtime_env"]["env_vars"].items() >= job.options.environment().items()


@pytest.mark.slow
def test_an_objective_of_ones_own_travels_with_the_job(tmp_path: Path) -> None:
    """To a process that has not its module, as a node of a cluster."""
    (tmp_path / "mine_here.py").write_text(
        "WORD = 'yes'\nclass Mine:\n    name = 'mine'\n    def say(self): return WORD\n"
    )
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import mine_here, ray; "
        "from search.study.tuning.engines import bring_along; "
        "one = mine_here.Mine(); bring_along([one]); "
        "sys.stdout.buffer.write(ray.cloudpickle.dumps(one))"
    )
    command = [sys.executable, "-c"]
    sent = subprocess.run([*command, code, str(tmp_path)], capture_output=True, check=True).stdout
    read = "import sys, pickle; print(pickle.loads(sys.stdin.buffer.read()).say())"
    told = subprocess.run([*command, read], input=sent, capture_output=True, check=True).stdout
    assert told.decode().strip() == "yes"


def test_while_ray_stops_nobody_finds_its_references_among_the_garbage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Found by another thread in those moments, one of them would end the process."""
    seen: list[bool] = []
    monkeypatch.setattr(ray, "shutdown", lambda: seen.append(gc.isenabled()))
    begun = engines.Engines({"s": Job({}, engine_options(), ())})
    begun.begin(schedule())
    begun.close()
    assert seen == [False] and gc.isenabled()
