"""A class of one's own: what it must be, said before anything starts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from objectives.errors import SettingError
from objectives.own import is_own, own_settings, settings_class

MODULE = """
from pathlib import Path
from objectives.settings import Settings, Positive
from objectives.target import Target

class Good(Settings):
    target = Target("good", "good", "good", item="right")
    longest: Positive = 3
    file: Path = Path()

class Aimless(Settings):
    pass

class Other:
    target = Good.target
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_alone.py").write_text(MODULE)
    (tmp_path / "broken_alone.py").write_text("import nowhere_at_all")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "mine_alone", raising=False)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine_alone:Missing", "cannot be imported: AttributeError"),
        ("mine_alone:Aimless", "has no `target`"),
        ("mine_alone:Other", "is no class of objectives.settings.Settings"),
        ("broken_alone:Good", "No module named 'nowhere_at_all'"),
        ("no_such_module:Good", r"--working-dir\), or be installed on every node"),
        ("mine alone:Good", "write it as package.module:Class"),
        ("mine_alone:", "write it as package.module:Class"),
    ],
)
def test_what_cannot_be_used_is_said(here: None, name: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        settings_class(name)


def test_settings_are_checked(here: None) -> None:
    assert own_settings("mine_alone:Good", {"longest": 4}).model_dump()["longest"] == 4
    with pytest.raises(SettingError, match=r"objective.own.longest: .*greater than or equal to 1"):
        own_settings("mine_alone:Good", {"longest": 0})
    with pytest.raises(SettingError, match=r"objective.own.file: must be the path of a file"):
        own_settings("mine_alone:Good", {"file": None})
    with pytest.raises(SettingError, match=r"objective.own.other: Extra inputs"):
        own_settings("mine_alone:Good", {"other": 0})


def test_names() -> None:
    assert is_own("a.b:C") and not is_own("mgsm")
