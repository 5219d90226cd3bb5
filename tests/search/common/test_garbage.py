"""What is loaded is not looked through again; what comes later is still collected."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from search.common.garbage import THRESHOLDS, keep_what_is_there, left_lying, look_seldom


class Ring:
    """Refers to itself: only the collector can free it."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    keep_what_is_there()  # as the test run had it


@pytest.mark.slow
def test_it_looks_seldom_but_looks() -> None:
    gc.set_threshold(700, 10, 10)
    look_seldom()
    assert gc.get_threshold() == THRESHOLDS
    gone = weakref.ref(Ring())
    kept = [Ring() for _ in range(2 * THRESHOLDS[0])]
    assert gone() is None and kept


def test_what_is_there_is_kept() -> None:
    ring = Ring()
    there = weakref.ref(ring)
    keep_what_is_there()
    del ring
    later = weakref.ref(Ring())
    gc.collect()
    assert there() is not None and later() is None


def test_no_thread_finds_what_is_left_lying() -> None:
    gc.set_threshold(1, 1, 1)
    with left_lying():
        there = weakref.ref(Ring())
        other = threading.Thread(target=lambda: [Ring() for _ in range(10_000)])
        other.start()
        other.join()
        assert there() is not None
    assert gc.isenabled()
    gc.collect()
    assert there() is None


def test_who_does_not_look_is_not_made_to_look() -> None:
    gc.disable()
    try:
        with left_lying():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
