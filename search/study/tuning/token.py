"""The token that Ray's processes want of each other: whoever has it runs code on the cluster.

Owns the file that Ray reads it from: made for its user alone before Ray would make one by the
umask, refused where others can read it. Knows nothing of what Ray does with it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from search.common.errors import ConfigError, StudyError

MODE, TOKEN, FILE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
"""Ray's environment variables: whether a token is wanted, itself, the file that holds it."""


def keep_token(*, joins: bool) -> None:
    """See that the token's file is its user's alone, and make one where there is none.

    Args:
        joins: whether a cluster is joined, whose token this machine must have been given.

    Raises:
        ConfigError: others can read the file, or could put another in its place.
        StudyError: it cannot be made.
    """
    if os.environ.get(MODE, "token") != "token" or os.environ.get(TOKEN):
        return
    named = os.environ.get(FILE)
    file = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        if not file.exists():
            if not (named or joins):
                _make(file)
            return
        if _open_to_others(file):
            raise ConfigError(
                f"others on this machine can read {file}, and whoever has this token of Ray's can "
                f"run code as you: chmod 700 {file.parent} && chmod 600 {file}; if somebody may "
                "have read it, stop your Ray clusters and remove it first, and a new one is made"
            )
    except OSError as error:
        raise StudyError(
            f"Ray's token {file} cannot be had: {error.strerror or error}; mend that, or name "
            f"another file in {FILE}"
        ) from None


def _make(file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.parent.chmod(0o700)
    part = file.with_name(f"{file.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        part.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(part, flags, 0o600)
    with os.fdopen(descriptor, "w") as out:
        os.fchmod(descriptor, 0o600)
        out.write(secrets.token_hex(32))
    try:
        with contextlib.suppress(FileExistsError):  # another search has just made one
            os.link(part, file)
    finally:
        part.unlink()


def _open_to_others(file: Path) -> bool:
    """Whether some user who is not its owner gets to the file, or may replace it."""
    file = file.resolve()
    above = [folder.stat().st_mode for folder in file.parents]
    for read, write, enter in (
        (stat.S_IRGRP, stat.S_IWGRP, stat.S_IXGRP),
        (stat.S_IROTH, stat.S_IWOTH, stat.S_IXOTH),
    ):
        reached = all(mode & enter for mode in above)
        if reached and (file.stat().st_mode & (read | write) or above[0] & write):
            return True
    return False
