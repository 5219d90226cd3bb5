"""Where Optuna's study is kept: a journal, a database, or one clear error."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from search.common.errors import ConfigError, StudyError
from search.config.secrets import STORAGE_PASSWORD
from search.records.folder import JOURNAL
from search.study.proposing.storage import open_storage


@pytest.mark.parametrize("database", [False, True])
def test_a_study_is_found_again(tmp_path: Path, database: bool) -> None:
    url = f"sqlite:///{tmp_path}/optuna.db" if database else None
    for number in range(2):
        storage = open_storage(url, tmp_path)
        study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True)
        study.tell(study.ask(), 1.0)
        assert len(study.trials) == number + 1
    assert (tmp_path / JOURNAL).exists() is not database


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        ("oracle://h/db", ConfigError, "its database driver is not installed: pip install"),
        ("nonsense://h/db", ConfigError, "search.storage = nonsense://h/db"),
        ("sqlite:////no/such/folder/x.db", StudyError, "cannot be used: .*--resume"),
    ],
)
def test_one_that_cannot_be_opened(
    tmp_path: Path, url: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        open_storage(url, tmp_path)


def test_a_missing_driver_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pip install 'mysqlclient'") as caught:
        open_storage("mysql://me:hunter2@127.0.0.1/x", tmp_path)
    assert "hunter2" not in str(caught.value) and "mysql://me:***@" in str(caught.value)


def test_a_password_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(STORAGE_PASSWORD, raising=False)
    with pytest.raises(ConfigError, match=f"environment variable {STORAGE_PASSWORD}"):
        open_storage("postgresql://me:***@127.0.0.1/x", tmp_path)
    monkeypatch.setenv(STORAGE_PASSWORD, "hunter2")
    given: list[str] = []
    monkeypatch.setattr("optuna.storages.RDBStorage", lambda url, engine_kwargs: given.append(url))
    open_storage("postgresql://me:***@127.0.0.1/x", tmp_path)
    assert given == ["postgresql://me:hunter2@127.0.0.1/x"]


def test_a_database_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"sqlite:///.* cannot be used: .*unable to open"):
        open_storage(f"sqlite:///{tmp_path}/no/such/folder/x.db", tmp_path)
