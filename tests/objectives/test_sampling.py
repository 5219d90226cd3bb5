"""Ranges of decoding, and how a call overrides it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from objectives.errors import SettingError
from objectives.sampling import check_sampling, is_random, override
from objectives.types import Decoding, Sampling

OWN = Sampling(100, 0.3, 0.75)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_tokens": 0}, "max_tokens is 0: at least 1"),
        ({"temperature": -0.1}, "temperature is -0.1: 0 to 2"),
        ({"temperature": 2.1}, "temperature is 2.1"),
        ({"top_p": 0.0}, "top_p is 0.0: above 0"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"beam_width": 0}, "beam_width is 0"),
    ],
)
def test_out_of_range(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        check_sampling(replace(OWN, **change))


@pytest.mark.parametrize(
    ("decoding", "found"),
    [
        (None, OWN),
        (Decoding(), OWN),
        (Decoding(temperature=0.0), Sampling(100, 0.0, 0.75)),
        (Decoding(top_p=1.0, beam_width=4), Sampling(100, 0.3, 1.0, (), 4)),
    ],
)
def test_override(decoding: Decoding | None, found: Sampling) -> None:
    assert override(OWN, decoding) == found


def test_an_override_is_checked_as_well() -> None:
    with pytest.raises(SettingError, match="temperature is 3"):
        override(OWN, Decoding(temperature=3.0))


def test_who_needs_a_seed() -> None:
    assert (
        is_random(OWN) and not is_random(Sampling(1)) and not is_random(Sampling(1, 0.5, 1, (), 2))
    )
