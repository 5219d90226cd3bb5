"""An S3 of this machine for each file of tests that asks for it; no lease outlives its test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from search.records.lease import Lease
from tests.search.s3_server import S3


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    server = S3()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _leases_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A driver that a test left alive would renew its lease in the next test's bucket."""
    made: list[Lease] = []
    begin = Lease.__init__

    def begun(lease: Lease, *arguments: Any) -> None:
        begin(lease, *arguments)
        made.append(lease)

    monkeypatch.setattr(Lease, "__init__", begun)
    yield
    for lease in made:
        lease._done.set()
