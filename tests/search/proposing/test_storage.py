"""Where Optuna's study is kept: a journal, a database, or one clear error."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from search.errors import ConfigError, StudyError
from search.proposing.storage import JOURNAL, open_storage


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
