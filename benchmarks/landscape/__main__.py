r"""Record a landscape of the demo family, and pack it for `benchmarks.search_quality`.

    python -m benchmarks.landscape record --lang te OUT
    python -m benchmarks.landscape pack --lang te OUT

    python -m benchmarks.landscape record --design wider --engines 1 --lang te OUT
    python -m benchmarks.landscape pack --design wider --lang te OUT

    python -m benchmarks.landscape record --design map --objectives mgsm,lcpr --lang te OUT \
        family=demo_confused
    python -m benchmarks.landscape show --lang te OUT family=demo_confused

`record` may be stopped and started again; `pack` writes benchmarks/landscapes/LANG.npz, or
LANG_wider.npz; `show` prints accuracy and LCPR of a recorded map.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.landscape import maps, packed
from benchmarks.landscape.design import DESIGNS
from benchmarks.landscape.recorder import Recording, record, work


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("record", "pack", "show", "work"))
    parser.add_argument("out", type=Path, help="folder of the recording")
    parser.add_argument("--lang", required=True)
    parser.add_argument("--objectives", default="mgsm", help="what is scored: mgsm or mgsm,lcpr")
    parser.add_argument("--design", choices=DESIGNS, default="whole", help="which recipes")
    parser.add_argument("--limit", type=int, default=10**9, help="only so many recipes")
    parser.add_argument("--engines", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--engine", type=int, default=0, help="which of them this process is")
    given, overrides = parser.parse_known_args()
    asked = Recording(
        given.out, given.lang, tuple(overrides), given.objectives, given.limit, given.design
    )
    if given.action == "record":
        return record(asked, given.engines)
    if given.action == "show":
        print(maps.markdown(asked.configuration(), packed.lines(given.out)))
        return 0
    if given.action == "pack":
        file = packed.pack(given.out, given.lang, given.design)
        print(f"{file}: {len(packed.read(file).keys)} recipes")
        return 0
    work(asked, given.engine, given.engines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
