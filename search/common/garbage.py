"""How often Python looks for garbage, in processes that load large libraries.

What modules are made of is never garbage, and yet with Python's own settings it is looked through
again with every few thousand new objects: a quarter of the time in which an engine starts.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = 50_000, 20, 10
"""New objects until the young are looked at; that, so often, until the next two generations are."""


def look_seldom() -> None:
    """Look for garbage less often from now on, in this process."""
    gc.set_threshold(*THRESHOLDS)


def keep_what_is_there() -> None:
    """All objects that exist now are no garbage: they are not looked at again."""
    gc.freeze()


@contextmanager
def left_lying() -> Iterator[None]:
    """Whatever becomes garbage meanwhile, in any thread, is found afterwards."""
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looked:
            gc.enable()
