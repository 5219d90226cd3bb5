"""An engine of a node that fetches a checkpoint, for a process of its own: it loads little."""

from __future__ import annotations

import os
import time
from typing import Any

import fsspec

from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.sources import url


def fetch(address: str, cache: str, slow: float, times: Any) -> None:
    """Put each file that is really read into `times`."""
    os.environ["XDG_CACHE_HOME"] = cache
    store = fsspec.filesystem("file")
    get_file = type(store).get_file

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        time.sleep(slow)
        times.put(args[0])
        return get_file(self, *args, **kwargs)

    type(store).get_file = counted
    Checkpoint.open(url.fetch(address, weights=True))
