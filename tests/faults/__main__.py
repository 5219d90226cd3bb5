"""The long fault run: `python -m tests.faults [--faults 60] [--seed 0] [--engine fake|real]`.

Prints a Markdown table for benchmarks/RESULTS.md; ends with an error at the first thing lost.
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.harness import LARGE, Search, compare
from tests.faults.inject import FAULTS, disturb, finish


def main() -> None:
    """Disturb searches until the faults are used up; print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("fake", "real"), default="fake")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    kinds = list(FAULTS)
    if given.engine == "real":  # nobody tells vLLM to hang or to raise
        kinds = [name for name in kinds if name not in ("an engine that raises", HANG)]
    names = [kinds[i % len(kinds)] for i in range(given.faults)]
    rng.shuffle(names)
    began, seen, trials = time.monotonic(), Counter[str](), 0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        calm = begin(Path(folder), "calm", given.engine)
        try:
            finish(calm)
        finally:
            calm.kill_all()
        for number in itertools.count():
            search = begin(Path(folder), f"disturbed-{number}", given.engine)
            try:
                while names and disturb(search, names[-1], rng):
                    seen[names.pop()] += 1
                    print(f"{sum(seen.values())}/{given.faults}", flush=True)
                finish(search)
                trials += compare(search, calm)
            finally:
                search.kill_all()
            if not names:
                break
    print("\n".join(table(seen, trials, number + 1, time.monotonic() - began, given.engine)))


HANG = "a generation that hangs"


def begin(out: Path, name: str, engine: str) -> Search:
    """A search that is not started yet; long enough for a dozen faults."""
    timeout = [f"search.trial_timeout={5 if engine == 'fake' else 60}"]
    return Search(out, name, [*LARGE, *timeout], engine=engine, wait=180.0)


def table(seen: Counter[str], trials: int, studies: int, seconds: float, engine: str) -> list[str]:
    """Lines of a Markdown table; that it is printed means that nothing was lost."""
    rows = [f"| {name} | {count} |" for name, count in sorted(seen.items())]
    return [
        f"| fault ({engine} engine) | times |",
        "| --- | ---: |",
        *rows,
        f"| faults | {sum(seen.values())} |",
        "",
        f"{studies} studies, {trials} trials, {seconds:.0f} s. Ended trials lost: 0; scored twice: "
        "0; tables that differ from the undisturbed run's: 0; processes or shared memory left: 0.",
    ]


if __name__ == "__main__":
    main()
