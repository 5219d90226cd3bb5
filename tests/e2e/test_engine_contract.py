"""vLLM keeps the contract that the fake engine keeps, in a process of its own."""

from __future__ import annotations

from search.checkpoints.family import Family
from tests.engine_process import run_code

CODE = """
import sys
from pathlib import Path
from search.engine.live import Engine
from search.checkpoints.family import fit
from tests.engine_options import engine_options
from tests.search.engine.contract import CONTRACT

if __name__ == "__main__":
    family = fit(dict(pair.split("=", 1) for pair in sys.argv[1:]), check_finite=False)
    engine = Engine(family, engine_options(max_num_seqs=16, enforce_eager=True))
    for check in CONTRACT:
        check(engine, family)
        print(check.__name__, flush=True)
"""


def test_contract(tiny_llama: Family) -> None:
    printed = run_code(CODE, tiny_llama.sources("te"))
    assert printed.split()[-1] == "closed_is_closed"
