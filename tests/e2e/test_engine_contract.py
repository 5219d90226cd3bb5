"""vLLM keeps the contract that the fake engine keeps, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from search.family import Family
from tests.e2e.commands import ROOT

CODE = """
import sys
from pathlib import Path
from search.engine import Engine, EngineOptions
from search.family import fit
from tests.search.engine_contract import CONTRACT

if __name__ == "__main__":
    family = fit(dict(pair.split("=", 1) for pair in sys.argv[1:]), check_finite=False)
    engine = Engine(family, EngineOptions(max_num_seqs=16, enforce_eager=True))
    for check in CONTRACT:
        check(engine, family)
        print(check.__name__, flush=True)
"""


def test_contract(tiny_llama: Family) -> None:
    sources = [f"{name}={path}" for name, path in tiny_llama.sources("te").items()]
    run = subprocess.run(
        [sys.executable, "-c", CODE, *sources],
        env=os.environ | {"OMP_NUM_THREADS": "1", "VLLM_LOGGING_LEVEL": "ERROR"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.split()[-1] == "closed_is_closed"
