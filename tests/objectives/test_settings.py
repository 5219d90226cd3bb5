"""What a user may write for an objective, and what its settings say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from objectives.langid import LanguageIdentifier
from objectives.lcpr import LcprSettings
from objectives.mgsm import MgsmSettings
from objectives.settings import (
    Beams,
    Count,
    FewShots,
    Nucleus,
    Positive,
    Settings,
    Share,
    Shared,
    Strict,
    Temperature,
)
from objectives.targets import OBJECTIVES
from objectives.types import Decoding
from tests.objectives.conftest import DATA


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Share, [0, 0.5, 1], [-0.1, 1.1]),
        (Count, [0, 3], [-1, 1.5]),
        (Positive, [1], [0]),
        (Temperature, [0, 2], [-1, 2.1]),
        (Nucleus, [0.01, 1], [0, 1.1]),
        (Beams, [1, 64], [0, 65]),
        (FewShots, [0, 5], [-1, 6]),
    ],
)
def test_ranges(kind: Any, good: list[Any], bad: list[Any]) -> None:
    adapter = TypeAdapter(kind)
    assert [adapter.validate_python(value) for value in good] == good
    for value in [*bad, float("nan"), float("inf"), "much", None]:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


class Example(Strict):
    """A model with a key."""

    key: int = 1
    """What it is."""


def test_a_model_refuses_unknown_keys_and_changes() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Example.model_validate({"kee": 2})
    with pytest.raises(ValidationError, match="frozen"):
        Example().key = 2


def test_the_docstring_under_a_field_is_its_description() -> None:
    assert Example.model_fields["key"].description == "What it is."


SHARED = Shared("te", 0, LanguageIdentifier(), None, 0.5, False, False)


def test_settings_of_an_objective_that_is_not_decoded_otherwise() -> None:
    """Nothing of it is searched, no file decides its scores, and it must say what it builds."""
    bare = Settings()
    assert bare.decoding() is None and bare.files() == {}
    with pytest.raises(NotImplementedError):
        bare.build(SHARED)


@pytest.mark.parametrize(
    ("name", "decoding", "files"),
    [
        ("mgsm", None, {}),
        (
            "lcpr",
            Decoding(temperature=0.1, top_p=0.8, beam_width=2, shots=0),
            {"words": Path("words.txt"), "examples": None},
        ),
    ],
)
def test_what_the_settings_say_of_themselves(
    name: str, decoding: Decoding | None, files: Mapping[str, Path | None]
) -> None:
    written = {"temperature": 0.1, "top_p": 0.8, "beam_width": 2, "words": "words.txt"}
    found = OBJECTIVES[name].model_validate(
        {"data_dir": "data"} | (written if name == "lcpr" else {})
    )
    assert found.decoding() == decoding and found.files() == files


def test_every_objective_gives_room_to_think() -> None:
    lcpr = LcprSettings(data_dir=DATA / "lcb", max_tokens=9, search_items=3, held_out_items=3)
    mgsm = MgsmSettings(
        data_dir=DATA / "mgsm", max_tokens=9, shots=2, search_items=3, held_out_items=3
    )
    for settings in (lcpr, mgsm):
        for budget in (0, 50):
            (request, *_) = settings.build(replace(SHARED, thinking_tokens=budget)).requests(
                "search"
            )
            assert request.sampling.max_tokens == 9 + budget
