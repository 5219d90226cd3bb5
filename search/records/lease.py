"""A lease on a study in an object store: what a lock is to a folder.

The holder is whoever made the highest number under `lease/`, and no two can make the same one. It
says every 30 s that it is alive; when it has been silent for three minutes, the next driver makes
the next number. A driver that was only asleep finds that number and stops. What no lease can do is
to stop it before it looks: that a record is never replaced is seen to by `Bucket.put_new`.

Two things that all this stands on are tried before a study is taken: that the store refuses to
write an object that is there, and that this machine's clock agrees with the store's.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
import uuid
from typing import Any

from search.common.errors import StudyError
from search.common.values import short
from search.records.bucket import Bucket

SILENCE_SECONDS = 180.0
"""A holder silent for so long has lost its claim."""
RENEW_SECONDS = 30.0
MADE_UP_SECONDS = 7 * 86400.0
"""Nobody's clock is off by so much and believed."""
CLOCK_SECONDS = 60.0
"""How far this machine's clock may be off the store's; S3 tells its own in whole seconds."""


_NUMBERED = re.compile(r"[0-9]{6}\.json").fullmatch


class Lease:
    """One working copy's claim on a study; it is the copy's own lock that tells its processes.

    A driver that died with its working copy intact is succeeded by the next one on that copy at
    once, as the copy's lock shows that it is dead.
    """

    def __init__(self, bucket: Bucket, copy: str) -> None:
        """Prepare.

        Args:
            bucket: the study's objects.
            copy: id of the working copy; no other has it, a copy of its disk neither.
        """
        self._bucket, self._copy = bucket, copy
        self._number, self._renewed = 0, 0.0
        self._lost = ""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._work, name="lease", daemon=True)

    def take(self) -> None:
        """Become the holder, and stay it until `release`.

        Raises:
            StudyError: another driver holds it, the store knows no conditional writes, or this
                machine's clock is off.
            OSError: the store is away.
        """
        _try_out(self._bucket)
        newest, state = _newest(self._bucket)
        left = _left(state)
        if left > 0 and state.get("copy") != self._copy:
            raise StudyError(
                f"{self._bucket.url} is in use by another running search ({_holder(state)}); if "
                f"that one is dead, try again in {left:.0f} s"
            )
        self._number = newest + 1
        if not self._bucket.put_new(self._name(), self._state()):
            raise StudyError(f"{self._bucket.url} has just been taken by another search")
        self._renewed = _clock()
        old = [f"lease/{n}" for n in self._bucket.names("lease") if n < f"{self._number:06}.json"]
        self._bucket.remove(old)
        self._thread.start()

    def check(self) -> None:
        """Make sure that this driver still is the holder; the store is asked once where need be.

        Raises:
            StudyError: another has taken over.
            OSError: it was silent too long, and the store is away.
        """
        if not self._lost and _clock() - self._renewed > SILENCE_SECONDS:
            self._renew(Bucket(self._bucket.url, 0.0))  # it was asleep, or the store away
        if self._lost:
            raise StudyError(
                f"{self._bucket.url} has been taken over by another search ({self._lost}), as this "
                "one was silent too long; this one stops"
            )

    def release(self, *, remove: bool = False) -> None:
        """Let another driver take the study at once; `remove` for a study that is gone.

        Raises:
            OSError: the store is away; others have to wait until the lease runs out.
        """
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._number and not self._lost:
            if remove:
                self._bucket.remove([self._name()])
            else:
                self._bucket.put(self._name(), self._state(released=True))

    def _work(self) -> None:
        while not self._done.wait(RENEW_SECONDS) and not self._lost:
            try:
                self._renew(self._bucket)
            except OSError:
                continue  # `check` tries again before the next record

    def _renew(self, bucket: Bucket) -> None:
        newest, state = _newest(bucket)
        others = newest == self._number and state.get("copy", self._copy) != self._copy
        if newest > self._number or others:  # a store may look first and write then: two get one
            self._lost = _holder(state)
            return
        asked = _clock()  # others count from what is written, not from the store's answer
        bucket.put(self._name(), self._state())
        self._renewed = asked

    def _name(self) -> str:
        return f"lease/{self._number:06}.json"

    def _state(self, *, released: bool = False) -> bytes:
        who = {"copy": self._copy, "host": socket.gethostname(), "pid": os.getpid()}
        return json.dumps({**who, "time": time.time(), "released": released}).encode()


def _clock() -> float:
    """Seconds that no setting of the clock changes, those included in which the machine slept."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _try_out(bucket: Bucket) -> None:
    """Does the store refuse what must be refused, and what time is it there?

    Raises:
        StudyError: it replaces an object that is there, or the clocks differ by a minute.
        OSError: the store is away.
    """
    name = f"lease/{uuid.uuid4().hex}.trial"  # no number: nobody's claim
    before = time.time()
    bucket.put_new(name, b"first")
    try:
        replaced = bucket.put_new(name, b"second")
        there = bucket.modified(name)
        after = time.time()
    finally:
        bucket.remove([name])
    if replaced:
        raise StudyError(
            f"{bucket.url}: its store replaces an object that is to be made only where there is "
            "none (it ignores If-None-Match), so that two searches could spoil each other's "
            "records: update it, or name another with --out"
        )
    off = 0.0 if there is None else max(before - there, there - after)
    if off > CLOCK_SECONDS:
        raise StudyError(
            f"this machine's clock and that of the store of {bucket.url} differ by {off:.0f} s: "
            "set it (NTP), as who drives a study is told by it"
        )


def is_held(bucket: Bucket) -> bool:
    """Whether a driver holds a study, as far as the store knows.

    Raises:
        OSError: the store is away.
    """
    return _left(_newest(bucket)[1]) > 0


def _newest(bucket: Bucket) -> tuple[int, dict[str, Any]]:
    """The highest number, and what its maker said last."""
    names = list(filter(_NUMBERED, bucket.names("lease")))
    if not names:
        return 0, {}
    try:
        state = json.loads(bucket.get(f"lease/{names[-1]}") or b"{}")
    except (ValueError, RecursionError):
        state = {}
    return int(names[-1].removesuffix(".json")), state if isinstance(state, dict) else {}


def _left(state: dict[str, Any]) -> float:
    """Seconds for which a claim still holds; one of a time that no clock shows holds nothing."""
    said = state.get("time")
    try:
        silent = time.time() - (said if isinstance(said, int | float) else 0.0)
    except OverflowError:  # of an integer
        return 0.0
    made_up = not abs(silent) < MADE_UP_SECONDS
    return 0.0 if state.get("released") or made_up else SILENCE_SECONDS - silent


def _holder(state: dict[str, Any]) -> str:
    return short(f"process {state.get('pid')} on {state.get('host')}", 100)
