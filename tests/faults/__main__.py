"""The long fault run: `python -m tests.faults [--faults 60] [--seed 0] [--engine fake|real]`.

In turn with Ray and MLflow's database of the driver's own, with an MLflow server, and on a cluster
of `ray start` nodes; faults by which trials fail have studies of their own, as their tables differ.
Each study is on a small disk of its own, a tmpfs; only root may mount it, others get no full disk.
Prints a Markdown table for benchmarks/RESULTS.md; ends with an error at the first thing lost.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.cluster.nodes import Nodes
from tests.faults.harness import LARGE, Search, compare
from tests.faults.inject import FAULTS, disturb, finish
from tests.mlflow_server import MlflowServer

HANG, NODE, FAULTY = "a generation that hangs", "kill -9 of a node", "a node where engines fail"
OUTAGE, FULL = "MLflow away and back", "full disk"
COMMON = ["kill -9 of an actor", "kill -9 of the driver", "SIGTERM"]
SURROUNDINGS = {
    "alone": [name for name in FAULTS if name not in (HANG, NODE, FAULTY, OUTAGE)],
    "alone, hanging": [HANG],
    "MLflow server": [OUTAGE, *COMMON, FULL],
    "cluster": [NODE, *COMMON],
    "cluster, failing": [FAULTY],
}
OF_FAKE = (
    "kill -9 of an engine's child",
    "an engine that raises",
    HANG,
    FAULTY,
)
"""What nobody tells vLLM to do; it has children with several GPUs only, and the demo family's three
attention heads go on one (tests/e2e/test_tensor_parallel.py kills a child of vLLM's)."""

IS_ROOT = os.geteuid() == 0
DISK_MIB = 64


def main() -> None:
    """Disturb searches until the faults are used up; print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("fake", "real"), default="fake")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    planned = plan(given.faults, given.engine, rng)
    began, equal = time.monotonic(), list[bool]()
    seen = Counter[tuple[str, str]]()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        calm = stack.enter_context(surrounded(folder, "calm", "alone", given.engine))
        finish(calm)
        for where, names in planned.items():
            for number in itertools.count():
                if not names:
                    break
                name = f"{where.translate({32: None, 44: 45})}-{number}"
                with surrounded(folder, name, where, given.engine) as search:
                    while names and disturb(search, names[-1], rng):
                        seen[where, names.pop()] += 1
                        print(f"{seen.total()}/{given.faults}", flush=True)
                    finish(search)
                    equal.append(compare(search, calm))
        trials = len(calm.trials())
    print("\n".join(table(seen, trials, equal, time.monotonic() - began, given.engine)))


def plan(faults: int, engine: str, rng: random.Random) -> dict[str, list[str]]:
    """Which faults happen where: all in turn, then in a random order."""
    pairs = [(where, name) for where, names in SURROUNDINGS.items() for name in names]
    if engine == "real":
        pairs = [(where, name) for where, name in pairs if name not in OF_FAKE]
    if not IS_ROOT:
        pairs = [(where, name) for where, name in pairs if name != FULL]
        print(f"no {FULL}: only root may mount a small one")
    chosen = list(itertools.islice(itertools.cycle(pairs), faults))
    rng.shuffle(chosen)
    return {where: [name for at, name in chosen if at == where] for where in SURROUNDINGS}


@contextmanager
def surrounded(out: Path, name: str, where: str, engine: str) -> Iterator[Search]:
    """A search that is not started yet, long enough for a dozen faults."""
    timeout = 10 if where == "alone, hanging" else 60
    # reproducible, so that a race stops the same trials whatever happens on the way
    arguments = [*LARGE, f"search.trial_timeout={timeout}", "search.engines=2"]
    seconds = 2.0 if where == "cluster, failing" else 0.3  # three new engines until it is left out
    search = Search(out / name, name, arguments, engine=engine, seconds=seconds, wait=400.0)
    search.out.mkdir(parents=True)
    with ExitStack() as stack:
        if IS_ROOT:
            stack.enter_context(small_disk(search.out))
        if where == "MLflow server":
            search.server = stack.enter_context(MlflowServer(search.scratch))
            search.server.start()
        if where.startswith("cluster"):
            search.cluster = stack.enter_context(Nodes(search.scratch))
            search.add_worker()
            search.add_worker()
        stack.callback(search.kill_all)
        yield search


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A tmpfs in place of a folder."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "faults", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield
    finally:
        # lazily: MLflow's client in this process keeps a database there open
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def table(
    seen: Counter[tuple[str, str]], trials: int, equal: list[bool], seconds: float, engine: str
) -> list[str]:
    """Lines of a Markdown table; that it is printed means that nothing was lost."""
    rows = [f"| {where} | {name} | {count} |" for (where, name), count in sorted(seen.items())]
    return [
        f"| surroundings ({engine} engine) | fault | times |",
        "| --- | --- | ---: |",
        *rows,
        f"| all | | {seen.total()} |",
        "",
        f"{len(equal)} studies of {trials} trials, {seconds:.0f} s. Ended trials lost: 0; scored "
        "twice: 0; lacking or twice in MLflow: 0; processes or shared memory left: 0. Final tables "
        f"equal to the undisturbed run's: {sum(equal)}; the other {len(equal) - sum(equal)} hold "
        "trials that a fault failed, and all else in them is equal.",
    ]


if __name__ == "__main__":
    main()
