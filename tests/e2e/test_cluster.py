"""The same search as a job on a Ray cluster: a head without engines and two worker nodes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from ray.job_submission import JobSubmissionClient

from tests.cluster.nodes import RAY, TOKEN, Nodes, wait_for
from tests.e2e.commands import ROOT, SMALL, environment, trials


def ray_job(*arguments: str, cluster: Nodes, cwd: Path) -> str:
    """`ray job ...` to its end; what it says."""
    command = [RAY, "job", arguments[0], "--address", cluster.dashboard, *arguments[1:]]
    own = environment() | TOKEN
    for _ in range(40):
        done = subprocess.run(
            command, env=own, capture_output=True, text=True, timeout=500, cwd=cwd
        )
        if "No available agent to submit job" not in done.stderr:  # it starts after the node
            break
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    return done.stdout


def test_a_job_is_stopped_in_order_and_the_same_job_goes_on(
    tmp_path: Path, mlflow_store: Path
) -> None:
    """Experts beside the job's code, which each node unpacks, and one that each node fetches."""
    shutil.copy(mlflow_store, tmp_path)
    experts = ["demo/weights/telugu-0", f"file://{ROOT}/demo/weights/telugu-1"]
    job = ["--working-dir", str(ROOT), "--runtime-env", str(ROOT / "cluster" / "job.yaml")]
    search = [sys.executable, "-m", "search.run", "--resume", "auto", "--lang", "te"]
    search += [f"--out={tmp_path}", "--study=job", "--trials=12", *SMALL]
    search += ["search.engines=2", f"family.language.te=[{','.join(experts)}]"]
    with Nodes(tmp_path) as cluster:
        for _ in range(2):
            cluster.add(cpus=1)
        headers = {"Authorization": f"Bearer {TOKEN['RAY_AUTH_TOKEN']}"}
        client = JobSubmissionClient(cluster.dashboard, headers=headers)
        submitted = ["--submission-id", "first", "--no-wait", *job, "--", *search]
        ray_job("submit", *submitted, cluster=cluster, cwd=tmp_path)
        log = tmp_path / "node-0.log"
        wait_for(lambda: len(trials(tmp_path / "job")) >= 1, cluster.head, log)
        client.stop_job("first")  # at once: the search would end while the command starts
        wait_for(lambda: client.get_job_status("first").is_terminal(), cluster.head, log)
        # the last line of an orderly end, never reached by a SIGKILL
        assert "go on with" in client.get_job_logs("first")
        before = trials(tmp_path / "job")
        again = ray_job("submit", *job, "--", *search, cluster=cluster, cwd=tmp_path)
    assert "recommended" in again and "succeeded" in again
    found = trials(tmp_path / "job")
    assert found[: len(before)] == before
    assert sum(t["origin"] == "search" for t in found) == 12
    assert {t["state"] for t in found} <= {"scored", "stopped"}, [t["reason"] for t in found]
    assert all(t["state"] == "scored" for t in found if t["origin"] in ("baseline", "final"))
    assert len({(t["key"], t["split"]) for t in found}) == len(found)
    # One engine on each worker node; for the final table Tune may have to start one anew, as it
    # stops an engine that has nothing to do while the last trial of the search is under way.
    after = [t for t in found[len(before) :] if t["split"] == "search"]
    assert len({t["host"] for t in after}) == 2
