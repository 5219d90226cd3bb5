"""Who waits looks whether the process has been told to end."""

from __future__ import annotations

import threading

from search.common.ending import Ending


def test_told_and_begun_again() -> None:
    ending = Ending()
    assert not ending.is_set()
    ending.set()
    assert ending.is_set()
    ending.clear()
    assert not ending.is_set()


def test_who_waits_wakes_when_it_is_told() -> None:
    ending, woke = Ending(), threading.Event()

    def wait() -> None:
        ending.wait(3600.0)
        woke.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert not woke.is_set()
    ending.set()
    assert woke.wait(30)
    ending.wait(3600.0)  # told already: it does not sleep
