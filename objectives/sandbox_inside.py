"""What runs in a sandbox's process: it shuts itself in, runs the program, and says how it ended.

Started by `objectives.sandbox` as a file (`python -I FILE`): needs nothing but Python's own library
and imports nothing of this package. The job is JSON on standard input, the end JSON on standard
output; where the sandbox cannot be made it exits with a status that is not 0 and says why.

Three processes: the first enters namespaces of its own (network, processes, mounts, IPC) and waits;
the second is the first process of these, builds a root folder that holds Python and nothing of the
user's, and keeps the time: when it ends, the kernel ends all that is left. The third has neither
rights nor environment, is limited, and runs the program.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import secrets
import signal
import sys
import time
from typing import Any, NoReturn

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER = 0x20000, 0x8000000, 0x10000000  # linux/sched.h
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 0x1000, 0x4000, 1 << 18  # linux/mount.h
MNT_DETACH, AT_FDCWD, AT_RECURSIVE, READ_ONLY, NO_SUID = 2, -100, 0x8000, 1, 2
SYS_MOUNT_SETATTR = 442  # Linux 5.12, the same number on every architecture
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38  # linux/prctl.h
NOBODY = 65534
SEEN = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/etc/ld.so.cache", sys.base_prefix)
"""All that the program sees of the file system, read-only, beside its own folder."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
RUNNER = """
import os
said = os.read({said}, 64)
os.close({said})
with open("program.py", encoding="utf-8") as file:
    text = file.read()
exec(compile(text, "program.py", "exec"), {{"__name__": "__main__"}})
os.write({end}, said)
os._exit(0)
"""
"""Only a program that comes to its end gets to the word that says so."""
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Run the job on standard input."""
    job = json.load(sys.stdin)
    if job["isolated"]:
        _enter_namespaces()
    first = os.fork()
    if first:
        _, status = os.waitpid(first, 0)
        sys.exit(0 if status == 0 else 1)
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if job["isolated"]:
        _build_root(job["folder"], job["files"])
    print(json.dumps(_watch(job)), flush=True)
    os._exit(0)


def _enter_namespaces() -> None:
    own = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:  # the program will be nobody: of root's processes the kernel counts none
        _call("unshare", own)
        return
    _call("unshare", own | CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"1000 {uid} 1"),
        ("gid_map", f"1000 {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _build_root(folder: str, size: int) -> None:
    """Make a folder the root, with what Python needs, and `/work` as the one place to write."""
    _mount(None, "/", None, MS_REC | MS_PRIVATE)
    _mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for path in dict.fromkeys((*SEEN, *DEVICES)):
        _show(path, folder + path)
    for name in ("work", "tmp"):
        os.mkdir(f"{folder}/{name}")
    _call("syscall", SYS_MOUNT_SETATTR, AT_FDCWD, folder.encode(), AT_RECURSIVE, _Attributes(), 32)
    for name in ("work", "tmp"):
        held = f"size={size},mode=1777,nr_inodes=1000"
        _mount("tmpfs", f"{folder}/{name}", "tmpfs", MS_NOSUID | MS_NODEV, held)
    os.chdir(folder)
    _call("pivot_root", b".", b".")
    _call("umount2", b".", MNT_DETACH)
    os.chdir("/work")


def _Attributes() -> Any:  # noqa: N802, struct mount_attr
    return ctypes.byref((ctypes.c_uint64 * 4)(READ_ONLY | NO_SUID, 0, 0, 0))


def _show(path: str, at: str) -> None:
    if os.path.ismount(at) or not os.path.lexists(path) or os.path.lexists(at):
        return  # it is there already, beneath another
    os.makedirs(os.path.dirname(at), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), at)
    else:
        if os.path.isdir(path):
            os.mkdir(at)
        else:
            os.close(os.open(at, os.O_CREAT | os.O_WRONLY, 0o644))
        _mount(path, at, None, MS_BIND | MS_REC)


def _watch(job: dict[str, Any]) -> dict[str, Any]:
    """Run the program in a process of its own, until its end or that of its time."""
    if not job["isolated"]:
        os.chdir(job["folder"])
    with open("program.py", "w", encoding="utf-8", errors="surrogatepass") as file:
        file.write(job["program"])
    os.chmod("program.py", 0o644)
    word = secrets.token_hex(16).encode()
    told, tell = os.pipe()
    heard, end = os.pipe()
    os.write(tell, word)
    os.close(tell)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    program = os.fork()
    if program == 0:
        try:
            _become(job, told, end)
        finally:
            os._exit(70)
    os.close(end)
    _call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)
    status, deadline = None, time.monotonic() + job["wall"]
    while status is None and (left := deadline - time.monotonic()) > 0:
        signal.sigtimedwait([signal.SIGCHLD], left)
        status = _ended(program)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program, signal.SIGKILL)
    if status is None:
        return {"passed": False, "reason": f"not ended after {job['wall']:g} seconds"}
    if status == 0:
        os.set_blocking(heard, False)
        with contextlib.suppress(BlockingIOError):
            if os.read(heard, 64) == word:
                return {"passed": True, "reason": ""}
        return {"passed": False, "reason": "ended before its tests did"}
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return {"passed": False, "reason": f"ended by {name}"}
    return {"passed": False, "reason": "an error or a failed test"}


def _ended(program: int) -> int | None:
    """The program's status if it has ended; others that end are heard as well."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if found[0] == program:
                return found[1]
    return None


def _become(job: dict[str, Any], told: int, end: int) -> NoReturn:
    """Give up all rights, take the limits, and be the program."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    nothing = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    for kind, most in (
        (resource.RLIMIT_CPU, job["seconds"]),
        (resource.RLIMIT_AS, job["memory"]),
        (resource.RLIMIT_FSIZE, job["files"]),
        (resource.RLIMIT_NPROC, job["processes"]),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    if job["isolated"] and os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for pipe in (told, end):
        os.set_inheritable(pipe, True)
    here = os.getcwd()
    kept = {"PATH": "/usr/bin:/bin", "HOME": here, "TMPDIR": here, "LANG": "C.UTF-8"}
    runner = RUNNER.format(said=told, end=end)
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-B", "-c", runner], kept)


def _mount(source: str | None, at: str, kind: str | None, flags: int, data: str = "") -> None:
    texts = [None if text is None else os.fsencode(text) for text in (source, at, kind)]
    _call("mount", *texts, flags, data.encode() or None)


def _call(name: str, *arguments: Any) -> None:
    """Call a function of libc that returns -1 where it fails."""
    found = [ctypes.c_ulong(a) if isinstance(a, int) and a > 0 else a for a in arguments]
    if getattr(_libc, name)(*found) == -1:
        number = ctypes.get_errno()
        sys.exit(f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
