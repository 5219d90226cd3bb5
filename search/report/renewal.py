"""report.html while a study runs: made again every minute, in a thread of its own.

Owns when, and that it costs the search little and can do it no harm: a fault is logged once, and
the next report comes no sooner than twenty times as long after the last as that took.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from search.records.durable import write_whole
from search.records.reader import RecordsReader

EVERY = 60.0
"""Seconds from one report to the next."""
SHARE = 0.05
"""Most of the time that may go into reports."""
LAST = 5.0
"""Seconds that `stop` waits for a report that is being made."""
HTML = "report.html"

_log = logging.getLogger(__name__)


class Renewal:
    """Renews report.html of a study until it is stopped."""

    def __init__(
        self, records: RecordsReader, folder: Path, make: Callable[[RecordsReader, Path], str]
    ) -> None:
        """Prepare; nothing is made before `start`.

        Args:
            records: the study, to which its driver adds.
            folder: where to.
            make: the page of these records, to be written into this folder.
        """
        self._records, self._folder, self._make = records, folder, make
        self._told = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="report", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a report that is being made is not written any more."""
        self._stop.set()
        self._thread.join(LAST)

    def _work(self) -> None:
        pause, known = EVERY, 0
        while not self._stop.wait(pause):
            if len(self._records.trials) == known:
                continue
            began = time.monotonic()
            now = self._records.snapshot()
            try:
                page = self._make(now, self._folder)
                if not self._stop.is_set():
                    write_whole(self._folder / HTML, page.encode(errors="backslashreplace"))
            except Exception as error:  # whatever it is, the search goes on
                self._warn(error)
            known = len(now.trials)
            pause = max(EVERY, (time.monotonic() - began) / SHARE)

    def _warn(self, error: Exception) -> None:
        if not self._told:
            _log.warning("report.html is not renewed: %s: %s", type(error).__name__, error)
        self._told = True
