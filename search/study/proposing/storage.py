"""Where Optuna keeps a study: a journal in the study's folder, or a database.

Owns how either is opened. Neither is the truth: `search.study.proposing.optuna_study` brings it in
line with the records. Optuna and its database driver are loaded when this is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search.common.errors import ConfigError, StudyError
from search.config.secrets import with_password, without_password
from search.records.folder import JOURNAL

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
    if url is not None:
        return _database(url)
    from search.study.proposing.journal import open_journal

    return open_journal(folder / JOURNAL)


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
        raise ConfigError(f"search.storage = {shown}: {error}") from None
    except (SQLAlchemyError, RuntimeError, OSError) as error:
        cause = str(error).partition("\n")[0]
        raise StudyError(
            f"Optuna's storage {shown} cannot be used: {cause}; start or mend it, then --resume "
            "the study"
        ) from None
