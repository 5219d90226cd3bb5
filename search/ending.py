"""Whether this process has been told to end, which whoever waits for something looks at.

SIGTERM and Ctrl-C set it (`search.study`). What waits for a store or a database that is away gives
up then: the records are on disk, and a scheduler kills after 30 s.
"""

from __future__ import annotations

import threading

ENDING = threading.Event()
"""`wait` on it in place of `time.sleep`; the next search of this process clears it."""
