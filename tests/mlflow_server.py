"""A real MLflow server on loopback that can be killed and brought back at the same address."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from tests.cluster.nodes import free_port


class MlflowServer:
    """One server with a store of its own; a context manager, not started on entry.

    Attributes:
        address: where it answers, whenever it runs.
        store: URI of what it keeps its runs in, readable without it.
    """

    def __init__(self, folder: Path, store: str | None = None) -> None:
        """Prepare; the store is a new one in the folder unless one is given."""
        self._port = free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        self.store = store or f"sqlite:///{folder / 'server.db'}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> MlflowServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        command += ["--port", str(self._port), "--workers", "1", "--backend-store-uri", self.store]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        said = self._folder / "server.log"
        with open(said, "wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, start_new_session=True
            )
        deadline = time.monotonic() + 120
        while not self._healthy():
            assert self._process.poll() is None and time.monotonic() < deadline, said.read_text()
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill -9, with its worker; nothing where it does not run."""
        process, self._process = self._process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)  # its own session: the server and its worker
            process.wait()

    def _healthy(self) -> bool:
        try:
            with urlopen(f"{self.address}/health", timeout=2):
                return True
        except OSError:
            return False
