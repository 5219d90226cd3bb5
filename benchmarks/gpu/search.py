"""A search of the demo family through Ray: how much of a trial is not generation."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.gpu.step import Finding, Given

NOT_GENERATION = 0.05


def run(given: Given) -> Iterator[Finding]:
    """`python -m search.run` as a person starts it, with few trials."""
    trials = 3 if given.rehearse else 20
    command = [sys.executable, "-m", "search.run", "--lang", "te", f"--trials={trials}"]
    command += [f"--out={given.folder}", "--study=gpu", "search.baselines={}"]
    if given.rehearse:
        command += ["objective.mgsm.search_items=20", "objective.mgsm.held_out_items=20"]
    else:
        command += ["search=gpu", "search.engines=1"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 3):  # 3: nothing can be recommended of so few items
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    lines = (given.folder / "gpu" / "trials.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    searched = [r for r in records if r.get("origin") == "search"]
    scored = [r for r in searched if r["state"] in ("scored", "stopped")]
    yield Finding("trials scored", str(len(scored)), str(trials), len(scored) == trials)
    total = sum(r["seconds"]["total"] for r in scored[1:])
    rest = 1 - sum(r["seconds"]["generate"] for r in scored[1:]) / total
    passed = None if given.rehearse else rest <= NOT_GENERATION
    yield Finding(
        "of a trial that is not generation", f"{rest:.1%}", f"{NOT_GENERATION:.0%}", passed
    )
    share = sum(r["seconds"]["materialise"] for r in scored[1:]) / total
    yield Finding("of a trial that is rewriting", f"{share:.1%}")
