"""What is made once for all processes of a test run."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

T = TypeVar("T")


def made_once(name: str, folder: Path, make: Callable[[Path], T]) -> T:
    """The same in each process; the others wait for the one that makes it.

    Args:
        name: its name among those of the test run.
        folder: pytest's folder of temporary files of this process.
        make: makes it; gets the place of its files.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    known = folder / f"{name}.pickle"
    with FileLock(f"{known}.lock"):
        if not known.exists():
            known.write_bytes(pickle.dumps(make(folder / name)))
    made: T = pickle.loads(known.read_bytes())
    return made
