"""Makes a real small family: `python -m demo.smollm2 --out models/smollm2-135m`.

Owns the stages and their order: base, experts, test items. What is already there is not made again,
and a folder appears under its name only when it is complete. Then:

    python -m search.check family=smollm2_135m
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from demo.build import MEMORY


def log(message: str) -> None:
    """Prints one line with the time of day."""
    print(time.strftime("%H:%M:%S"), message, flush=True)


def make(folder: Path, write: Callable[[Path], None]) -> None:
    """Lets `write` fill a folder, unless it is there."""
    if folder.exists():
        log(f"{folder} is there")
        return
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    began = time.monotonic()
    write(part)
    part.rename(folder)
    log(f"{folder} made in {time.monotonic() - began:.0f} s")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line.

    Returns:
        0, or 2 where the package with the weights is not installed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m demo.smollm2",
        description="SmolLM2 135M as a checkpoint, a math expert and a Swahili expert of it.",
    )
    parser.add_argument("--out", type=Path, default=Path("models/smollm2-135m"), help="the family")
    parser.add_argument("--only", nargs="+", metavar="EXPERT", help="some experts (all)")
    args = parser.parse_args(argv)

    from demo.smollm2 import convert, finetune, lessons

    known = [expert.name for expert in finetune.EXPERTS]
    if unknown := set(args.only or ()) - set(known):
        parser.error(f"--only {' '.join(sorted(unknown))}: known are {', '.join(known)}")
    base = args.out / "base"
    if not base.exists():
        try:
            gguf = convert.find_weights()
        except convert.NotInstalledError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        make(base, partial(convert.convert, gguf))
    make(args.out / "data", lessons.write_test)
    for expert in finetune.EXPERTS:
        if expert.name in (args.only or known):
            mix = lessons.MIXES[expert.mix]
            make(args.out / expert.name, partial(finetune.finetune, expert, mix, base, log))
    log(f"next: python -m search.check family=smollm2_135m ({args.out})")
    return 0


if __name__ == "__main__":
    if not MEMORY.keys() <= os.environ.keys():
        command = [sys.executable, "-m", "demo.smollm2", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **MEMORY})
    sys.exit(main())
