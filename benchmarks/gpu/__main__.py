"""What a GPU must show, step by step, in a table for RESULTS.md.

python -m benchmarks.gpu [--minutes 25] [--only STEP,...] [--rehearse]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.gpu.step import ROOM, Finding, Given

STEPS = {
    "facts": ("what is there", 30),
    "links": ("how fast bytes reach the device", 120),
    "bits": ("merge methods, bit for bit", 120),
    "averages": ("averages in one kernel", 60),
    "proof": ("the demo's merges against fresh engines", 300),
    "rebuild": ("an engine closed and built again", 120),
    "budgets": ("context length and budgets that nobody named", 60),
    "failure": ("an engine that fails takes its process with it", 120),
    "shapes": ("Llama 3.1 8B's shapes from each tier, with peak memory", 420),
    "generation": ("generation against bare vLLM, and two engines on one GPU", 240),
    "search": ("a search of 20 trials through Ray", 240),
}
"""Step, a module beside this one -> what it shows, and the seconds that it may take."""
ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "1",  # steps look into workers in their own process
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the steps; 0 when each has passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=25.0, help="for all steps together")
    parser.add_argument("--only", default=",".join(STEPS), help=f"of {', '.join(STEPS)}")
    parser.add_argument("--rehearse", action="store_true", help="tiny shapes, on a CPU")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.step:
        return _step(given.step, Given(given.rehearse, given.folder))
    unknown = set(given.only.split(",")) - STEPS.keys()
    if unknown:
        parser.error(f"no such step: {', '.join(sorted(unknown))}")
    deadline = time.monotonic() + 60 * given.minutes
    good = True
    print("| step | | figure | goal | |\n| --- | --- | ---: | ---: | --- |", flush=True)
    with tempfile.TemporaryDirectory(dir=_roomy()) as folder:
        for name in given.only.split(","):
            for finding in _outcome(name, given.rehearse, Path(folder), deadline):
                good &= finding.passed is not False
                verdict = {True: "pass", False: "FAIL", None: ""}[finding.passed]
                print(
                    f"| {name} | {finding.what} | {finding.figure} | {finding.goal} | {verdict} |",
                    flush=True,
                )
    return 0 if good else 1


def _outcome(name: str, rehearse: bool, folder: Path, deadline: float) -> Iterator[Finding]:
    """Run a step in a process group that ends with it; its findings."""
    title, seconds = STEPS[name]
    left = deadline - time.monotonic()
    if left < 0.3 * seconds and not rehearse:
        yield Finding(title, "not run: no time was left")
        return
    command = [sys.executable, "-m", "benchmarks.gpu", "--step", name, "--folder", str(folder)]
    log = folder / f"{name}.log"
    with open(log, "w") as errors:
        process = subprocess.Popen(
            command + ["--rehearse"] * rehearse,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            env=os.environ | ENVIRONMENT,
        )
    begun = time.monotonic()
    try:
        out, _ = process.communicate(timeout=min(left, 2 * seconds))
        problem = f"ended with status {process.returncode}" if process.returncode else ""
    except subprocess.TimeoutExpired:
        problem = "not done in its time"
        out = ""
    finally:
        _end(process)
    for line in (out or process.communicate()[0] or "").splitlines():
        if line.startswith('{"what"'):
            yield Finding(**json.loads(line))
    if problem:
        said = log.read_text(errors="replace").strip().splitlines()
        print("\n".join(said[-30:]), file=sys.stderr)
        yield Finding(title, problem, "", False)
    print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr)


def _end(process: subprocess.Popen[str]) -> None:
    """Nothing of a step's processes is left."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _step(name: str, given: Given) -> int:
    for finding in import_module(f"benchmarks.gpu.{name}").run(given):
        print(finding.line(), flush=True)
    return 0


def _roomy() -> str | None:
    """Where random checkpoints of a large model find room: shared memory, if it is large.

    It has to hold their pinned copies as well.
    """
    shared = Path("/dev/shm")
    if shared.is_dir() and shutil.disk_usage(shared).free > 2 * ROOM:
        return str(shared)
    return None


if __name__ == "__main__":
    sys.exit(main())
