"""A small S3 on this machine: moto's server, in a thread, on a port of the loopback.

moto and s3fs take seconds to load: they are loaded when a test asks for one.
"""

from __future__ import annotations

import logging

import pytest

BUCKET = "layer-swaps"


class S3:
    """Serves one bucket; it can be taken away and brought back with what it holds.

    Attributes:
        url: address of a folder in the bucket.
        endpoint: the server's.
    """

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._port = 0
        self.start_again()
        _, self._port = self._server.get_host_and_port()
        self.endpoint = f"http://127.0.0.1:{self._port}"
        self.url = f"s3://{BUCKET}/runs"

    def connect(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process find it as it would find AWS, and make the bucket anew."""
        for name, value in self.environment().items():
            monkeypatch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        files = s3fs.S3FileSystem()
        if files.exists(BUCKET):
            files.rm(BUCKET, recursive=True)
        files.mkdir(BUCKET)

    def environment(self) -> dict[str, str]:
        """What a process needs to reach it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "name",
            "AWS_SECRET_ACCESS_KEY": "password",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
        }

    def stop(self) -> None:
        self._server.stop()

    def start_again(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()
