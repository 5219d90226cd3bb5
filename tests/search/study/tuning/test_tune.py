"""What a signal does to a study.

Whole studies on Ray are in tests/faults, tests/cluster and tests/e2e.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from search.common.ending import ENDING
from search.study.tuning import tune
from search.study.tuning.watch import Watch
from tests.schedules import schedule

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def handlers() -> Iterator[dict[int, Any]]:
    """This process's own, put back afterwards whatever a test does."""
    before = {number: signal.getsignal(number) for number in tune.SIGNALS}
    yield dict(before)
    for number, handler in before.items():
        signal.signal(number, handler)
    ENDING.clear()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_study_in_order(handlers: dict[int, Any], number: int) -> None:
    watch = Watch(schedule())
    ENDING.set()  # of a study before
    tune._listen(watch)
    assert not watch.stopping and not ENDING.is_set()
    os.kill(os.getpid(), number)
    assert watch.stopping and ENDING.is_set()


@pytest.mark.slow
def test_a_second_signal_ends_the_process() -> None:
    code = (
        "import os, signal\n"
        "from search.study.tuning import tune\n"
        "from search.study.tuning.watch import Watch\n"
        "from tests.schedules import schedule\n"
        "watch = Watch(schedule())\n"
        "tune._listen(watch)\n"
        "watch.stop()\n"  # a fault is ending the study: nobody has asked to end it
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "print('goes on', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "print('goes on for ever', flush=True)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (run.returncode, run.stdout) == (128 + signal.SIGTERM, "goes on\n"), run.stderr


@pytest.mark.parametrize("fails", [False, True])
def test_signals_are_the_callers_again(handlers: dict[int, Any], fails: bool) -> None:
    try:
        with tune.signals_put_back():
            tune._listen(Watch(schedule()))
            assert signal.getsignal(signal.SIGTERM) is not handlers[signal.SIGTERM]
            if fails:
                raise RuntimeError("Ray did not start")
    except RuntimeError:
        assert fails
    assert {number: signal.getsignal(number) for number in tune.SIGNALS} == handlers
