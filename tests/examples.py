"""How many examples hypothesis draws: all in `make test`, a tenth while working (`make check`)."""

from __future__ import annotations

import os

QUICK = "QUICK"
"""Environment variable that `make check` sets."""


def examples(n: int) -> int:
    """So many, or a tenth of them."""
    return max(10, n // 10) if os.environ.get(QUICK) else n
