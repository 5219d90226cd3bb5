"""Where Optuna keeps a study: a journal in the study's folder, or a database.

Owns how either is opened, and what is done about a journal that a crash cut off. Neither is the
truth: `search.optuna_study` brings it in line with the records. Optuna and its database driver are
loaded when this is called.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from search.errors import ConfigError, StudyError
from search.secrets import masked, with_password, without_password

JOURNAL = "optuna.journal"
DRIVERS = {"postgresql": "psycopg[binary]", "mysql": "mysqlclient", "mysql+pymysql": "pymysql"}
"""Kind of database -> the package that speaks to it; sqlite comes with Python."""


def open_storage(url: str | None, folder: Path) -> Any:
    """An `optuna.storages.BaseStorage`.

    Args:
        url: of a database, see `SearchConfig.storage`; None for the journal.
        folder: the study's folder, held by this process.

    Raises:
        ConfigError: the database's driver is not installed, or its password is not there.
        StudyError: the database cannot be used.
    """
    return _journal(folder / JOURNAL) if url is None else _database(url)


def _database(url: str) -> Any:
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    shown = without_password(url)
    try:
        # a search pauses for minutes, and a server drops what is idle
        return RDBStorage(with_password(url), engine_kwargs={"pool_pre_ping": True})
    except ImportError:
        kind = url.partition("://")[0]
        package = DRIVERS.get(kind) or kind.partition("+")[2] or kind
        raise ConfigError(
            f"search.storage = {shown}: its database driver is not installed: "
            f"pip install '{package}', or leave search.storage out (a file in the study's folder)"
        ) from None
    except (ArgumentError, ValueError) as error:
        raise ConfigError(f"search.storage = {shown}: {masked(str(error))}") from None
    except (SQLAlchemyError, RuntimeError, OSError) as error:
        cause = masked(str(error)).partition("\n")[0]
        raise StudyError(
            f"Optuna's storage {shown} cannot be used: {cause}; start or mend it, then --resume "
            "the study"
        ) from None


def _journal(file: Path) -> Any:
    """The journal, after what a killed driver left: its lock, half a line."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    file.with_name(f"{file.name}.lock").unlink(missing_ok=True)  # whoever held it is dead
    if file.exists():
        _cut(file)
    try:
        return JournalStorage(JournalFileBackend(str(file)))
    except (ValueError, KeyError, AssertionError):  # made again from the records
        os.replace(file, file.with_name(f"{file.name}.broken"))
        return JournalStorage(JournalFileBackend(str(file)))


def _cut(file: Path) -> None:
    """Remove a last line without an end: what is appended to it would break the whole journal."""
    with file.open("r+b") as opened:
        end = opened.seek(0, os.SEEK_END)
        size, block = end, 0
        while size and block < end:
            block = min(end, block + 65536)
            opened.seek(end - block)
            found = opened.read(block).rfind(b"\n")
            if found >= 0:
                size = end - block + found + 1
                break
            size = 0
        if size < end:
            opened.truncate(size)
