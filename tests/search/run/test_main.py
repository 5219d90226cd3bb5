"""The command line of the main job: which study it means, exit statuses, its own Ray."""

from __future__ import annotations

import os

import pytest

from search.run import __main__ as run
from tests.search.run.setup import Setup


def test_output_folder_below_a_file(setup: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    (setup.folder / "file").write_text("")
    setup.out = setup.folder / "file" / "runs"
    assert setup.main() == 2
    assert "cannot be written" in capsys.readouterr().err


def test_study_with_another_configuration(
    setup: Setup, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.run.job.run", lambda *_: "recommended")
    assert setup.main() == 0
    setup.more = ["search.trials=7"]
    assert setup.main() == 2
    assert "another configuration: search.trials (60 there, 7 here)" in capsys.readouterr().err


def test_resume_takes_no_configuration(
    setup: Setup, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.run.job.run", lambda *_: "recommended")
    assert setup.main() == 0
    folder = str(setup.out / "s")
    assert run.main(["--resume", folder]) == 0
    assert run.main(["--resume", folder, "--trials", "7"]) == 2
    assert "leave out --trials" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("outcome", "status"), [("recommended", 0), ("undecided", 3), ("stopped", 130)]
)
def test_how_the_study_ended_is_the_exit_status(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, outcome: str, status: int
) -> None:
    monkeypatch.setattr("search.run.job.run", lambda *_: outcome)
    assert setup.main() == status


def test_only_its_own_ray_is_kept_on_loopback(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray looks at the environment; who starts nodes after a search must not inherit it."""
    seen = []

    def study(*_: object) -> str:
        seen.append(dict(os.environ))
        return "recommended"

    monkeypatch.setattr("search.run.job.run", study)
    before = dict(os.environ)
    assert setup.main() == 0
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert setup.main(study="on-a-cluster") == 0
    monkeypatch.delenv("RAY_ADDRESS")
    assert dict(os.environ) == before
    local, cluster = seen
    assert local.keys() - before.keys() == {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"}
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in cluster


def test_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main([]) == 2
    assert "--lang is missing" in capsys.readouterr().err
