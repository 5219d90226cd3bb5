"""A process of its own for what files of others make a library do: it may hang, die or grow there.

Owns that process, which lives until this one ends, so that what it has imported is imported once;
one that had to be ended is followed by a new one. Values go through as JSON. Knows nothing of what
is called, which is a function of ours in a module.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import math
import os
import resource
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

SECONDS = 120.0
"""Patience with one call: some of it imports large libraries, on a busy machine."""
ROOM = 4 * 2**30
"""Bytes of data that the process may hold."""
FILE = 2**30
"""Bytes of a file that it may write."""

_LENGTH = struct.Struct("<Q")
_MOST = 2**28  # bytes of an answer
_lock = threading.Lock()
_child: subprocess.Popen[bytes] | None = None
_owner = 0  # the process that started it; one that was forked has its own


class ApartError(ValueError):
    """What was called did not come to an end, ended its process, or raised; says which."""


def call(
    function: Callable[..., Any],
    *arguments: Any,
    kinds: tuple[type[Exception], ...] = (),
    seconds: float | None = None,
) -> Any:
    """Call a function in the process apart.

    Args:
        function: of a module of ours; what it takes and returns is JSON.
        arguments: what it is given.
        kinds: errors that are raised here as they are raised there, made from their messages.
        seconds: how long it may take; `SECONDS` where nothing is said.

    Raises:
        ApartError: it took longer, ended the process, or raised something else.
    """
    limit = SECONDS if seconds is None else seconds
    name = f"{function.__module__}:{function.__qualname__}"
    asked = json.dumps([name, arguments, limit, os.getcwd()]).encode()
    with _lock:
        child = _started()
        assert child.stdin and child.stdout
        try:
            with contextlib.suppress(BrokenPipeError):  # it died: there is no answer either
                child.stdin.write(_LENGTH.pack(len(asked)) + asked)
                child.stdin.flush()
            answer = _read(child.stdout)
        except BaseException:  # Ctrl-C: its answer is nobody's
            _stop()
            raise
        if answer is None:
            _stop()
            raise ApartError(_ending(child.returncode, limit))
    found = json.loads(answer)
    if "value" in found:
        return found["value"]
    for kind in kinds:
        if kind.__name__ == found["kind"]:
            raise kind(found["message"])
    raise ApartError(f"{found['kind']}: {found['message']}")


def stop() -> None:
    """End the process; the next call starts another, with the environment that there is then."""
    with _lock:
        _stop()


def serve() -> None:
    """What the process does: answer one call after the other, until nobody asks any more."""
    asks, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # what libraries print is no answer
        os.dup2(nothing, stream)
    gc.set_threshold(50_000, 20, 10)  # what large libraries consist of is looked through seldom
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (ROOM, ROOM))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
    while (asked := _read(asks)) is not None:
        name, arguments, limit, folder = json.loads(asked)
        # by the kernel and not by Python: a library that hangs asks Python for nothing
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, limit)
        found = json.dumps(_answer(name, arguments, folder)).encode()
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(_LENGTH.pack(len(found)) + found)
        answers.flush()


def _answer(name: str, arguments: list[Any], folder: str) -> dict[str, Any]:
    try:
        os.chdir(folder)
        module, _, function = name.partition(":")
        return {"value": getattr(import_module(module), function)(*arguments)}
    except BaseException as error:  # a panic of a Rust library is no Exception
        return {"kind": type(error).__name__, "message": str(error)[:10_000]}


def _started() -> subprocess.Popen[bytes]:
    global _child, _owner
    if _owner != os.getpid() or _child is None or _child.poll() is not None:
        _owner = os.getpid()
        root = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join([root, *filter(None, sys.path)])
        _child = subprocess.Popen(
            [sys.executable, "-c", "from objectives import apart; apart.serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is this process's
        )
        atexit.register(_stop)
    return _child


def _stop() -> None:
    global _child
    child, _child = _child, None
    if child is not None:
        child.kill()
        with child:  # waits, and closes the pipes
            pass


def _read(stream: BinaryIO | Any) -> bytes | None:
    """One message; None where there is none any more."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data: bytes = stream.read(length) if length <= _MOST else b""
    return data if len(data) == length else None


def _ending(code: int | None, limit: float) -> str:
    ended = -(code or 0)
    if ended in (signal.SIGALRM, 0):
        return f"it does not come to an end within {math.ceil(limit)} s"
    try:
        return f"it ends its process ({signal.Signals(ended).name})"
    except ValueError:
        return f"it ends its process with {code}"
