"""Texts that are long and crooked: what looks through every error does not hang on them."""

from __future__ import annotations

import pytest

from tests.hostile.limits import limited

PARTS = [
    "a",
    "a:b//",
    "token=",
    '"password": "',
    "\\",
    "%3A%2F%2F",
    "//a:b@",
    "-----BEGIN KEY-----",
]
PARTS += ["mysql ", "login a password ", "-u a:", "value: ", "api key: ", "a \n", "jdbc:oracle:a:"]
PARTS += ["\x1b[2J", "'", "?password=&", " ", "--a ", "a.b:"]


@pytest.mark.slow
def test_masking_takes_linear_time() -> None:
    """A quadratic one takes a minute for one of these."""
    code = (
        "import sys\n"
        "from search.common.errors import StudyError\n"
        "for part in sys.argv[1:]: StudyError('a' + part * 20_000)\n"
    )
    run = limited("-c", code, *PARTS)
    assert run.returncode == 0, run.stderr[-2000:]
