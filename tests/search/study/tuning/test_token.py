"""Ray's token is its user's alone, before Ray starts and whatever the umask is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.common.errors import ConfigError, StudyError
from search.study.tuning.token import FILE, MODE, TOKEN, keep_token


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that others may look into, as many are, and folders above it as well."""
    for name in (MODE, TOKEN, FILE):
        monkeypatch.delenv(name, raising=False)
    made = tmp_path / "home"
    monkeypatch.setenv("HOME", str(made))
    stat = Path.stat
    made.mkdir(mode=0o755)

    def opened(path: Path, **options: bool) -> os.stat_result:
        found = stat(path, **options)
        if made in path.parents or path == made:
            return found
        return os.stat_result((found.st_mode | 0o755, *found[1:]))

    monkeypatch.setattr(Path, "stat", opened)
    return made


@pytest.fixture
def wide_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def modes(home: Path) -> list[str]:
    return [oct(p.stat().st_mode & 0o777) for p in (home / ".ray", home / ".ray" / "auth_token")]


def test_it_is_made_before_ray_does(home: Path, wide_umask: None) -> None:
    keep_token(joins=False)
    assert modes(home) == ["0o700", "0o600"]
    token = (home / ".ray" / "auth_token").read_text()
    assert len(token) == 64 and len(list((home / ".ray").iterdir())) == 1
    keep_token(joins=False)
    assert (home / ".ray" / "auth_token").read_text() == token


def test_a_folder_that_is_there_is_closed(home: Path) -> None:
    (home / ".ray").mkdir(mode=0o755)
    keep_token(joins=False)
    assert modes(home) == ["0o700", "0o600"]


@pytest.mark.parametrize(
    ("folder", "file", "refused"),
    [
        (0o700, 0o600, False),
        (0o755, 0o600, False),
        (0o700, 0o644, False),  # nobody gets to it
        (0o755, 0o644, True),
        (0o750, 0o640, True),
        (0o751, 0o604, True),
        (0o777, 0o600, True),  # another could be put there
    ],
)
def test_one_that_others_can_read_is_refused(
    home: Path, folder: int, file: int, refused: bool
) -> None:
    token = home / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("t")
    token.chmod(file)
    token.parent.chmod(folder)
    for joins in (False, True):
        if refused:
            with pytest.raises(ConfigError, match=rf"chmod 700 {home}/.ray && chmod 600 {token};"):
                keep_token(joins=joins)
        else:
            keep_token(joins=joins)
    token.parent.chmod(0o700)
    token.chmod(0o600)
    keep_token(joins=False)  # the remedy


@pytest.mark.parametrize(("variable", "value"), [(MODE, "disabled"), (TOKEN, "t"), (FILE, "no")])
def test_another_token_is_the_users_own_business(
    home: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    keep_token(joins=False)
    assert not (home / ".ray").exists()


def test_a_cluster_s_token_is_not_made(home: Path) -> None:
    keep_token(joins=True)
    assert not (home / ".ray").exists()


def test_a_home_that_cannot_be_written(home: Path) -> None:
    (home / ".ray").write_text("no folder")
    with pytest.raises(StudyError, match=r"Ray's token \S+ cannot be had: .*RAY_AUTH_TOKEN_PATH"):
        keep_token(joins=False)
