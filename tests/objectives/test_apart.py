"""What happens in the process apart stays there: it hangs, grows or dies, and this one goes on."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from objectives import apart
from objectives.errors import DataError, SettingError


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    apart.stop()


def told(value: Any) -> Any:
    print("noise, which is no answer", flush=True)
    return value


def place() -> list[Any]:
    return [os.getpid(), os.getcwd()]


def never() -> None:
    while True:
        try:
            time.sleep(0.01)
        except BaseException:  # it does not want to be ended
            continue


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def leave() -> None:
    os._exit(3)


def grow() -> int:
    return len(bytearray(2 * apart.ROOM))


def write(path: str) -> None:
    with open(path, "wb") as file:
        file.truncate(2 * apart.FILE)


def refuse(kind: str) -> None:
    raise {"data": DataError, "setting": SettingError, "panic": GeneratorExit}[kind]("because")


def test_values_go_through_and_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"a": [1, None, "\ud800\n\x1b", "x" * 1_000_000]}
    assert apart.call(told, value) == value
    monkeypatch.chdir(tmp_path)
    first, folder = apart.call(place)
    assert first != os.getpid() and folder == str(tmp_path)
    assert apart.call(place)[0] == first
    apart.stop()
    assert apart.call(place)[0] != first


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "arguments", "why"),
    [
        (never, (), "it does not come to an end within 1 s"),
        (die, (signal.SIGSEGV,), r"it ends its process \(SIGSEGV\)"),
        (leave, (), "it ends its process with 3"),
        (grow, (), "MemoryError"),
        (refuse, ("panic",), "GeneratorExit: because"),
        (refuse, ("setting",), "SettingError: because"),
    ],
)
def test_what_cannot_be_answered(function: Any, arguments: tuple[Any, ...], why: str) -> None:
    apart.call(told, 0)
    with pytest.raises(apart.ApartError, match=why):
        apart.call(function, *arguments, kinds=(DataError,), seconds=1)
    assert apart.call(told, 1) == 1


def test_files_that_are_too_large(tmp_path: Path) -> None:
    with pytest.raises(apart.ApartError, match="File too large"):
        apart.call(write, str(tmp_path / "file"))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != apart.FILE  # ours is as it was


def test_errors_that_the_caller_knows() -> None:
    with pytest.raises(DataError, match="because"):
        apart.call(refuse, "data", kinds=(SettingError, DataError))


def test_one_that_died_between_two_calls() -> None:
    os.kill(apart.call(place)[0], signal.SIGKILL)
    for _ in range(2):  # it may not be known yet
        try:
            found = apart.call(told, 1)
        except apart.ApartError:
            continue
    assert found == 1


def test_ctrl_c_ends_what_hangs() -> None:
    apart.call(told, 0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by xdist's
    try:
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            apart.call(never)
    finally:
        signal.signal(signal.SIGINT, before)
    assert apart.call(told, 1) == 1
