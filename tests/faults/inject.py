"""What is done to a running search, one function for each fault.

Each leaves the search running, or ended and checked; `tests.faults.harness` says what must hold.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from search.study.retries import FAILURES
from tests.cluster.nodes import processes
from tests.faults.harness import ENDED, Search

Fault = Callable[[Search, random.Random], None]

PAGE = 4096
"""Bytes; a tmpfs gives room to files in such pieces."""


def kill_actor(search: Search, rng: random.Random) -> None:
    """Kill -9 to a process with an engine, as the kernel does when memory is short; one follows."""
    engines = len(search.actors())
    _kill(search, rng, search.actors)
    search.until(lambda: len(search.actors()) >= engines or not search.running, "another engine")


def kill_child(search: Search, rng: random.Random) -> None:
    """Kill -9 to a process that an engine has started, as vLLM does for each GPU."""
    _kill(search, rng, search.children)


def dead_engine(search: Search, rng: random.Random) -> None:
    """The engine raises in the middle of a trial; the trial gets another one."""
    (search.control / "dead").touch()
    search.until(lambda: not (search.control / "dead").exists() or not search.running, "its death")


def hang(search: Search, rng: random.Random) -> None:
    """Generation never returns, nor gives Python's lock back; `search.trial_timeout` ends it."""
    (search.control / "hang").touch()
    search.until(lambda: not (search.control / "hang").exists() or not search.running, "the hang")
    before = _failed(search)
    if search.running:
        search.until(lambda: _failed(search) > before or not search.running, "the watchdog")


def kill_node(search: Search, rng: random.Random) -> None:
    """A node is gone, as a spot node goes; another one comes, and no trial pays for it."""
    assert search.cluster is not None
    failed = _failed(search)
    search.cluster.remove(search.workers.pop(rng.randrange(len(search.workers))))
    time.sleep(rng.uniform(0.0, 3.0))
    search.add_worker()
    before = len(search.trials())
    search.until(lambda: len(search.trials()) > before or not search.running, "another trial")
    assert _failed(search) == failed, search.tail()


def faulty_node(search: Search, rng: random.Random) -> None:
    """On one node no engine starts any longer: after three trials it is left out, for good."""
    assert search.cluster is not None
    search.until(lambda: len(search.actors()) == len(search.workers), "an engine on each node")
    victim = rng.choice(search.workers)
    (search.control / "broken").write_text(str(victim.pid))
    said = "it is not used further"
    count, engines = search.printed().count(said), processes(victim)
    for process in search.actors():
        if process in engines:
            process.kill()
    search.until(lambda: search.printed().count(said) > count or not search.running, said)
    assert search.printed().count(said) > count, f"the search was over\n{search.tail()}"
    failed, before = _failed(search), len(search.trials())
    assert failed >= FAILURES, search.tail()
    search.until(lambda: len(search.trials()) >= before + 2 or not search.running, "the others")
    assert _failed(search) == failed, search.tail()
    (search.control / "broken").unlink()
    search.workers.remove(victim)
    search.cluster.remove(victim)
    search.add_worker()


def tracking_outage(search: Search, rng: random.Random) -> None:
    """Kill -9 to the MLflow server, which comes back; the search does not wait for it."""
    assert search.server is not None
    search.server.kill()
    before = len(search.trials())
    search.until(lambda: len(search.trials()) > before or not search.running, "another trial")
    time.sleep(rng.uniform(0.0, 3.0))
    search.server.start()


def kill_driver(search: Search, rng: random.Random) -> None:
    """Kill -9 to the driver."""
    assert search.process is not None
    search.process.kill()
    search.check_end(-signal.SIGKILL)


def terminate(search: Search, rng: random.Random) -> None:
    """SIGTERM, as schedulers and `ray job stop` send it."""
    if _interrupted(search, signal.SIGTERM):
        tail = search.tail()
        assert "go on with" in tail or "no trial has ended" in tail, tail


def interrupt(search: Search, rng: random.Random) -> None:
    """Ctrl-C."""
    _interrupted(search, signal.SIGINT)


def _interrupted(search: Search, number: signal.Signals) -> bool:
    """Send a signal; whether it came before the last trial had ended, and so ended the search."""
    _signal(search, number)
    assert search.process is not None
    search.until(lambda: not search.running, "the driver's end", 30)
    search.check_end(*ENDED, 130)
    return not search.finished


def terminate_twice(search: Search, rng: random.Random) -> None:
    """A second SIGTERM does not wait for the order of the first."""
    _signal(search, signal.SIGTERM)
    time.sleep(rng.uniform(0.05, 1.0))
    if search.running:
        _signal(search, signal.SIGTERM)
    assert search.process is not None
    search.until(lambda: not search.running, "the driver's end", 30)
    # in order if it was quicker; 143 by the handler; the signal itself during the report
    allowed = {130, 128 + signal.SIGTERM, -signal.SIGTERM}
    assert search.process.returncode in allowed, search.tail()
    search.check_end(search.process.returncode)


def full_disk(search: Search, rng: random.Random) -> None:
    """Another file takes all room on the study's disk, but for some pages; then it is gone."""
    filler = search.out / "filler"
    with open(filler, "wb") as file:
        while (room := _room(search.out) - PAGE * rng.randrange(8)) > 0:
            with suppress(OSError):  # the search has taken some of it since
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size + room)
                break
    search.check_end(1, within=60)
    errors = [line for line in search.printed().splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "No space left on device" in errors[0], search.tail()
    assert "make room, then --resume" in errors[0], search.tail()
    filler.unlink()


def _room(folder: Path) -> int:
    """Bytes that are free on the disk of a folder."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _kill(
    search: Search, rng: random.Random, candidates: Callable[[], list[psutil.Process]]
) -> None:
    """Kill one of these processes, as soon as there is one."""
    search.until(lambda: candidates() or not search.running, "a process to kill")
    found = candidates()
    if found:
        victim = rng.choice(found)
        victim.kill()
        search.until(lambda: not victim.is_running() or _is_zombie(victim), "its end")


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _signal(search: Search, number: signal.Signals) -> None:
    assert search.process is not None
    search.process.send_signal(number)


def _failed(search: Search) -> int:
    return sum(trial["state"] == "failed" for trial in search.trials())


FAULTS: dict[str, Fault] = {
    "kill -9 of an actor": kill_actor,
    "kill -9 of an engine's child": kill_child,
    "an engine that raises": dead_engine,
    "a generation that hangs": hang,
    "kill -9 of a node": kill_node,
    "a node where engines fail": faulty_node,
    "MLflow away and back": tracking_outage,
    "kill -9 of the driver": kill_driver,
    "SIGTERM": terminate,
    "two SIGTERMs": terminate_twice,
    "Ctrl-C": interrupt,
    "full disk": full_disk,
}
"""After those from "kill -9 of the driver" on the study is resumed."""


def disturb(search: Search, name: str, rng: random.Random) -> bool:
    """Inject one fault at a random moment and check; False if the search was over before."""
    if not search.running:
        search.start()
    if not search.until_ended(len(search.trials()) + rng.randint(1, 3)):
        return False
    time.sleep(rng.uniform(0.0, 0.6))
    search.note_shared_memory()
    before = search.trials()
    if not search.running:
        return False
    FAULTS[name](search, rng)
    search.check_records(before)
    return True


def finish(search: Search) -> None:
    """Let the search come to its end."""
    if not search.running and not search.finished:
        search.start()
    before = search.trials()
    search.check_end(*ENDED, within=300)
    search.check_records(before)
    search.check_tracking()
