"""Where a demo search's time goes: from its records and the driver's own CPU clock.

python -m benchmarks.search_time
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


def main() -> list[str]:
    """Run `python -m search.run --lang te` and divide its time; lines of a Markdown table."""
    with tempfile.TemporaryDirectory() as out:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        command = [sys.executable, "-m", "benchmarks.search_time", "--driver", out]
        run = subprocess.run(command, capture_output=True, text=True)
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
        lines = (Path(out) / "bench" / "trials.jsonl").read_text("utf-8").splitlines()
        clock = json.loads(run.stderr.splitlines()[-1])
    trials = [json.loads(line) for line in lines]
    search = [t for t in trials if t["origin"] == "search"]
    total = sum(t["seconds"]["total"] for t in trials[1:])  # the first builds the engine
    parts = {
        name: sum(t["seconds"].get(name, 0.0) for t in trials[1:])
        for name in ("materialise", "generate", "score")
    }
    ended = [t["ended"] for t in trials]
    # the gap between two ends less the time inside the actor: Tune, Optuna, records, MLflow
    gaps = [
        b["ended"] - a["ended"] - b["seconds"]["total"]
        for a, b in zip(trials, trials[1:], strict=False)
    ]
    between = sum(max(0.0, gap) for gap in gaps)
    span = ended[-1] - ended[0]
    tokens = sum(t["tokens"] for t in trials[1:])
    used = _cpu_at(clock, ended[-1]) - _cpu_at(clock, ended[0])
    all_cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    rows = {
        "whole command, s": f"{wall:.1f}",
        "trials (baselines, search, held-out)": f"{len(trials)} ({len(search)} search)",
        "trials per minute, engine running": f"{60 * (len(trials) - 1) / span:.1f}",
        "tokens per second while generating": f"{tokens / parts['generate']:.0f}",
        "generate, share of the time between ends": f"{100 * parts['generate'] / span:.1f}%",
        "materialise": f"{100 * parts['materialise'] / span:.1f}%",
        "score": f"{100 * parts['score'] / span:.1f}%",
        "rest of the trial in the actor": f"{100 * (total - sum(parts.values())) / span:.1f}%",
        "between trials (Tune, Optuna, records)": f"{100 * between / span:.1f}%",
        "driver CPU per trial, ms": f"{1000 * used / (len(trials) - 1):.0f}",
        "CPU of all processes, s": f"{all_cpu:.0f}",
    }
    return ["| | |", "| --- | ---: |", *(f"| {k} | {v} |" for k, v in rows.items())]


def driver(out: str) -> int:
    """The search itself; samples of its CPU clock go to the last line of standard error."""
    from search.run.__main__ import main as search_main

    clock: list[tuple[float, float]] = []

    def sample() -> None:
        while True:
            clock.append((time.time(), time.process_time()))
            time.sleep(0.25)

    threading.Thread(target=sample, daemon=True).start()
    status = search_main(["--lang", "te", f"--out={out}", "--study=bench"])
    print(json.dumps(clock), file=sys.stderr)
    return status


def _cpu_at(clock: list[list[float]], when: float) -> float:
    """CPU seconds that the driver had used at a Unix time."""
    return next(cpu for moment, cpu in clock if moment >= when)


if __name__ == "__main__":
    if "--driver" in sys.argv:
        sys.exit(driver(sys.argv[-1]))
    print("\n".join(main()))
