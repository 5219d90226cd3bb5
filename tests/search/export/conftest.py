"""The tiny family as a user writes it down, and a study of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from search.checkpoints.family import Family
from tests.search.export.studies import RECIPES, make_study


@pytest.fixture(scope="module")
def family_file(tiny_llama: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = {
        "name": "tiny",
        "base": str(tiny_llama.base),
        "task": [str(place) for place in tiny_llama.task],
        "language": {"te": [str(place) for place in tiny_llama.language["te"]]},
    }
    file = tmp_path_factory.mktemp("family") / "family.yaml"
    file.write_text(yaml.safe_dump(data))
    return file


@pytest.fixture(scope="module")
def study(family_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("runs") / "s", family_file, RECIPES)
