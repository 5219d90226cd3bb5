"""What whole runs share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.commands import SMALL, run
from tests.made_once import made_once

TRIALS = 6


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A search of six trials, the study `first`: its folder of studies, and what it printed.

    It has made MLflow's store. Do not change its files: copy the folder.
    """

    def make(place: Path) -> tuple[Path, str]:
        arguments = ("--lang=te", f"--trials={TRIALS}", *SMALL, f"--out={place}")
        return place, run(*arguments, "--study=first")

    return made_once("undisturbed", tmp_path_factory.getbasetemp(), make)
