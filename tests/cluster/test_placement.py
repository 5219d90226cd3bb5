"""Where engines run on a cluster of pretended GPUs: a fake engine, everything else is real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from search.run.__main__ import UNDECIDED
from tests.cluster.nodes import RAY, TOKEN, Nodes, processes, wait_for
from tests.e2e.commands import ROOT, SMALL, environment, trials


def engines(node: subprocess.Popen[bytes], folder: Path) -> int:
    """Engines that were started on a node and are alive."""
    return sum((folder / f"{process.pid}.engine").exists() for process in processes(node))


@pytest.mark.long
def test_engines_come_and_go_with_the_nodes(tmp_path: Path) -> None:
    """From two GPU nodes to a third that is added and one that is lost."""
    log, folder = tmp_path / "driver.log", tmp_path / "engines"
    folder.mkdir()
    (folder / "hold").touch()
    command = [sys.executable, "-m", "tests.cluster.driver", str(folder), "--lang=te"]
    command += [f"--out={tmp_path}", "--study=placed", "--trials=8", *SMALL]
    command += ["search.engines=null", "search.gpus_per_engine=1"]
    with Nodes(tmp_path) as cluster:
        one, two, plain = cluster.add(4, gpus=1), cluster.add(4, gpus=2), cluster.add(4)
        joined = environment() | TOKEN | {"RAY_ADDRESS": cluster.address}
        with open(log, "w") as out:
            driver = subprocess.Popen(command, cwd=ROOT, env=joined, stdout=out, stderr=out)

        def spread() -> list[int]:
            return [engines(node, folder) for node in (cluster.head, plain, one, two)]

        try:
            wait_for(lambda: spread() == [0, 0, 1, 2], driver, log)
            status = [RAY, "status", f"--address={cluster.address}"]
            said = subprocess.run(status, env=joined, capture_output=True, text=True).stdout
            assert "'GPU': 1.0" in said.partition("Demands:")[2], said  # an autoscaler goes by it

            three = cluster.add(1, gpus=1)
            wait_for(lambda: engines(three, folder) == 1, driver, log)
            assert spread() == [0, 0, 1, 2]

            cluster.remove(two)
            (folder / "hold").unlink()
            assert driver.wait(timeout=300) in (0, UNDECIDED), log.read_text()[-5000:]
        finally:
            driver.kill()
            driver.wait()
    found = trials(tmp_path / "placed")
    assert sum(t["origin"] == "search" for t in found) == 8
    assert all(t["state"] != "failed" for t in found), [t["reason"] for t in found]
    assert len({(t["key"], t["split"]) for t in found}) == len(found)
