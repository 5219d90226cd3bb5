"""`python -m search.ui [STUDY]`: a study's own page in MLflow, opened.

Owns this command: which study is meant, the MLflow server on loopback that it starts where there is
none, and its end. What the page shows is `search.study.tracking.pages`'s. Works on a running study,
too.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path
from socket import AF_INET, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, socket

from objectives.command_line import Parser
from search.common.ending import as_ctrl_c
from search.common.errors import SearchError, StudyError
from search.common.masking import masked
from search.records import listing
from search.records.reader import RecordsReader
from search.records.remote import working_copy
from search.records.study_path import StudyPath
from search.study.tracking.outbox import address
from search.study.tracking.pages import TAG, pages
from search.study.tracking.reading import find_study
from search.study.tracking.runs import experiment_name, is_server
from search.study.tracking.store import answers

PORT = 5000
"""Where a server of ours stands if it can, as MLflow's own does by default."""
STARTING_SECONDS = 180.0
"""A server's start on a busy machine; an idle one takes about 10 s."""
_SMALL = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # four more processes, of use to language apps
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="python -m search.ui",
        description="Open a study's page in MLflow: its recipes, best first; final table; charts.",
        epilog="example: python -m search.ui runs/demo-te-20260101-120000",
    )
    p.add_argument(
        "study", nargs="?", default="runs", help="a study, or a folder of studies: its newest"
    )
    p.add_argument("--tracking-uri", help="default: MLFLOW_TRACKING_URI, else <out>/mlflow.db")
    p.add_argument(
        "--trust-addresses",
        action="store_true",
        help="ask the server that the search sent it to, as the study's mlflow.json says",
    )
    p.add_argument("--no-browser", action="store_true", help="print the address and open nothing")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Open a study's page; 0, or 2 where it cannot be had.

    Stays until Ctrl-C or SIGTERM where it started a server.
    """
    args = parser().parse_args(argv)
    try:
        path = listing.named(args.study)
        folder = path if isinstance(path, Path) else working_copy(path)
        uri = address(folder, args.tracking_uri, trusted=args.trust_addresses)
        with as_ctrl_c(signal.SIGINT, signal.SIGTERM):
            return _open(path, uri, browser=not args.no_browser)
    except KeyboardInterrupt:
        return 0
    except SearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def page_address(path: StudyPath, uri: str, server: str) -> str:
    """Where a study's table is seen.

    Args:
        path: the study.
        uri: MLflow's tracking URI.
        server: address of the server that shows it.

    Raises:
        StudyError: MLflow has nothing of the study yet, or does not answer.
    """
    head = RecordsReader.read(path).head()
    experiment = experiment_name(head.value("family.name", str), head.value("lang", str))
    found = find_study(uri, experiment, head.id)
    if found is None:
        raise StudyError(
            f"{masked(uri)} has no run of {path}: python -m search.sync {path} sends it"
        )
    number, tags = found
    first = pages(head.id)[0]
    return first.address(server, number, shared=TAG + first.key in tags)


def _open(path: StudyPath, uri: str, *, browser: bool) -> int:
    if is_server(uri):
        _show(page_address(path, uri, masked(uri)), browser)
        return 0
    known = _running(path)
    if known:
        _show(known, browser)
        return 0
    here = page_address(path, uri, "")  # before a server is started in vain
    with _server(uri) as server:
        _show(f"{server}{here}", browser)
        print("Ctrl-C ends the server", flush=True)
        while True:
            time.sleep(3600)


def _running(path: StudyPath) -> str | None:
    """The study's page on the server at MLflow's usual port of this machine, if it has the study.

    A study's id is random: who has it shows the same study.
    """
    server = f"http://127.0.0.1:{PORT}"
    if _free(PORT) or not answers(server, 2.0):
        return None
    try:
        return page_address(path, server, server)
    except StudyError:
        return None  # it is another store's


def _show(page: str, browser: bool) -> None:
    print(page, flush=True)
    if browser and _has_screen():
        webbrowser.open(page)


def _has_screen() -> bool:
    """Whether a browser would open a window here, and not in a terminal or on another machine."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _free(port: int) -> bool:
    with socket(AF_INET, SOCK_STREAM) as tried:
        tried.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _port() -> int:
    if _free(PORT):
        return PORT
    with socket(AF_INET, SOCK_STREAM) as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


@contextlib.contextmanager
def _server(uri: str) -> Iterator[str]:
    """An MLflow server on loopback for a store: its address, while it is wanted.

    Raises:
        StudyError: it does not start.
    """
    port = _port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    environment = {**os.environ, **_SMALL, "MLFLOW_BACKEND_STORE_URI": uri}  # not seen by `ps`
    with tempfile.TemporaryDirectory() as folder:  # MLflow's default places of files are the cwd
        said = Path(folder) / "server.log"
        with said.open("wb") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=folder,
                start_new_session=True,  # our Ctrl-C is not its; it is ended below
            )
        server = f"http://127.0.0.1:{port}"
        try:
            deadline = time.monotonic() + STARTING_SECONDS
            while not answers(server, 2.0):
                if process.poll() is not None or time.monotonic() > deadline:
                    last = said.read_text(errors="replace").strip().splitlines()[-5:]
                    raise StudyError(f"mlflow server does not start: {masked(chr(10).join(last))}")
                time.sleep(0.2)
            yield server
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server with its workers."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)


if __name__ == "__main__":
    sys.exit(main())
