"""Hostile programs in a sandbox: what each tries does not work, and nothing is left of it."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import psutil
import pytest

from objectives import sandbox
from objectives.errors import SettingError
from objectives.sandbox import End, Limits, SandboxError, run

pytestmark = pytest.mark.slow  # a process or more for each program

LIMITS = Limits(seconds=1, memory_mib=256, files_mib=1, processes=8)


@pytest.fixture(scope="module", autouse=True)
def _possible() -> None:
    try:
        sandbox.check()
    except SettingError as error:
        pytest.skip(str(error))


def test_a_program_that_comes_to_its_end_passes() -> None:
    assert run("import math, re, collections\nassert math.gcd(6, 4) == 2", LIMITS) == End(True, "")


def test_whatever_this_process_leaves_to_others() -> None:
    before = os.umask(0o077)
    try:
        assert run("import json", LIMITS).passed
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("assert 1 + 1 == 3", "an error or a failed test"),
        ("def broken(:", "an error or a failed test"),
        ("import sys\nsys.exit(0)", "ended before its tests did"),
        ("import os\nos._exit(0)", "ended before its tests did"),
        ("while True: pass", "ended by SIG"),
        ("x = bytearray(2**30)", "an error or a failed test"),
        ("x = []\nwhile True: x.append(bytearray(2**20))", "an error or a failed test"),
        ("import os\nos.kill(os.getpid(), 11)", "ended by SIGSEGV"),
        ("import os\nos.kill(-1, 9)", "an error or a failed test"),
        ("\udce4", "an error or a failed test"),
    ],
)
def test_what_does_not_pass(program: str, reason: str) -> None:
    end = run(program, LIMITS)
    assert not end.passed and end.reason.startswith(reason)


def test_a_program_that_waits_is_ended_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limits, "wall", 1.0)
    end = run("import time\ntime.sleep(600)", LIMITS)
    assert end == End(False, "not ended after 1 seconds")


def test_no_network_not_even_of_this_machine() -> None:
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: heard.append(server.accept()[0].recv(9)))
        thread.start()
        port = server.getsockname()[1]
        reach = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2).send(b'sent')"
        assert run(reach, LIMITS) == End(False, "an error or a failed test")
        assert run(reach, LIMITS, isolated=False).passed  # so the program is right
        thread.join()
    assert heard == [b"sent"]
    assert not run("import socket\nsocket.create_connection(('192.0.2.1', 80), 1)", LIMITS).passed


def test_secrets_of_the_environment_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    look = "import os\nassert not any('secret' in v for v in os.environ.values()), os.environ"
    assert run(look, LIMITS).passed and run(look, LIMITS, isolated=False).passed
    assert not run("open('/proc/1/environ', 'rb').read()", LIMITS).passed


def test_no_file_of_the_user_is_seen(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("secret")
    seen = f"print(open({str(secret)!r}).read())"
    assert not run(seen, LIMITS).passed and run(seen, LIMITS, isolated=False).passed
    assert run(
        "import os\nassert not os.path.exists('/proc/self') and not os.listdir('/tmp')", LIMITS
    )


@pytest.mark.parametrize("where", ["/usr/x", "/x", "{here}/x", "/dev/x", "/etc/x"])
def test_nothing_is_written_outside(where: str, tmp_path: Path) -> None:
    file = where.format(here=tmp_path)
    assert not run(f"open({file!r}, 'w').write('x')", LIMITS).passed
    assert not Path(file).exists()


def test_its_own_folder_holds_so_much() -> None:
    assert run("open('a', 'wb').write(bytes(2**19))\nassert open('a', 'rb').read()", LIMITS).passed
    assert not run("open('a', 'wb').write(bytes(2**21))", LIMITS).passed
    many = "for n in range(20): open(f'a{n}', 'wb').write(bytes(2**17))"
    assert not run(many, LIMITS).passed


BOMB = """
import os, time
started = 0
try:
    for _ in range(1000):
        if os.fork() == 0:
            os.setsid()
            open('/tmp/{name}', 'a').close()
            time.sleep(600)
        started += 1
except BlockingIOError:
    pass
assert 0 < started < {most}, started
"""


def test_a_fork_bomb_starts_few_and_leaves_none() -> None:
    before = set(psutil.pids())
    assert run(BOMB.format(name="x", most=LIMITS.processes), LIMITS).passed
    ours = [p for p in psutil.process_iter() if p.pid not in before]
    assert not any("program.py" in " ".join(_command(p)) for p in ours)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


ESCAPE = """
import ctypes
libc = ctypes.CDLL(None)
assert libc.umount2(b'/usr', 2) == -1
assert libc.mount(None, b'/usr', None, 32 | 4096, None) == -1
if libc.unshare(0x10000000 | 0x20000) == 0:
    assert libc.mount(None, b'/usr', None, 32 | 4096, None) == -1
assert libc.setuid(0) == -1
"""


def test_it_has_no_rights_and_gains_none() -> None:
    assert run(ESCAPE, LIMITS).passed


def test_where_nothing_can_be_isolated_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container without the right to make namespaces."""
    text = sandbox.INSIDE.read_text("utf-8")
    refused = text.replace('_call("unshare", own', '_call("unshare", -1 if own else 0')
    assert refused != text
    (tmp_path / "inside.py").write_text(refused)
    monkeypatch.setattr(sandbox, "INSIDE", tmp_path / "inside.py")
    with pytest.raises(SandboxError, match="no sandbox could be made: unshare: Invalid argument"):
        run("", LIMITS)
    with pytest.raises(SettingError, match="isolated=false runs them with limits alone"):
        sandbox.check()
    assert run("", LIMITS, isolated=False).passed
    assert not run("while True: pass", LIMITS, isolated=False).passed


def test_no_folder_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.tempfile, "tempdir", str(tmp_path))
    run("open('a', 'w').write('x')", LIMITS)
    run("open('a', 'w').write('x')", LIMITS, isolated=False)
    assert os.listdir(tmp_path) == []
