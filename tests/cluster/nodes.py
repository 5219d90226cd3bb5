"""A Ray cluster on this machine, of real `ray start` processes; each is stopped by its id."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.commands import environment

RAY = str(Path(sys.executable).with_name("ray"))
# A token of the test's own: Ray would take one from the home folder of whoever runs the tests.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}


class Nodes:
    """A head without engines, and worker nodes that come and go; a context manager.

    Attributes:
        address: what a driver joins.
        dashboard: where jobs are submitted.
        head: its process.
    """

    def __init__(self, logs: Path) -> None:
        # Short folders: Ray's sockets live there, and a socket's path is at most 107 bytes long.
        # One for each node, as on a real cluster: nodes unpack a job's working folder over what is
        # there.
        self._folder = Path(tempfile.mkdtemp(prefix="rc-", dir="/tmp"))
        self._logs, self._nodes = logs, list[subprocess.Popen[bytes]]()
        port, dashboard = free_port(), free_port()
        self.address, self.dashboard = f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}"
        self._head = ["--head", f"--port={port}", f"--dashboard-port={dashboard}"]
        self._head += ["--dashboard-host=127.0.0.1", "--num-cpus=0", "--num-gpus=0"]

    def __enter__(self) -> Nodes:
        try:
            self.head = self._start(self._head)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in reversed(self._nodes):
            self.remove(node)
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, cpus: int, gpus: int = 0) -> subprocess.Popen[bytes]:
        """One more worker node; one by one, because two at once race for free ports."""
        room = [f"--num-cpus={cpus}", f"--num-gpus={gpus}"]
        return self._start([f"--address={self.address}", *room])

    def remove(self, node: subprocess.Popen[bytes]) -> None:
        """Lose a node: killed, because after SIGTERM Ray drains it for 30 s."""
        for process in processes(node):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        node.kill()
        node.wait()

    def _start(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        """`ray start`, until it says that it has."""
        name = str(len(self._nodes))
        command = [RAY, "start", *arguments, f"--temp-dir={self._folder / name}"]
        command += ["--node-ip-address=127.0.0.1", "--block", "--disable-usage-stats"]
        # Ray's own choice is one fixed port: whichever node has it, no other takes jobs.
        command += ["--dashboard-agent-listen-port=0"]
        log = self._logs / f"node-{name}.log"
        with open(log, "w") as out:
            # what vLLM keeps there has another process of it look at each class of models
            known = {"VLLM_CACHE_ROOT": str(Path.home() / ".cache" / "vllm")}
            own = {"XDG_CACHE_HOME": str(self._logs / "cache")}
            node = subprocess.Popen(
                command,
                env=known | environment() | TOKEN | own,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._nodes.append(node)
        wait_for(lambda: "Ray runtime started" in log.read_text(), node, log)
        return node


def processes(node: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """All that a node has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return list(psutil.Process(node.pid).children(recursive=True))
    return []


def wait_for(
    condition: Callable[[], Any], process: subprocess.Popen[Any], log: Path, seconds: float = 120
) -> None:
    """Until something holds, while a process is alive."""
    deadline = time.monotonic() + seconds
    while not condition():
        said = log.read_text()[-3000:]
        assert process.poll() is None, said
        assert time.monotonic() < deadline, said
        time.sleep(0.2)


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
