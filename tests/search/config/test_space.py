"""The group `space`: bounds in their order, pairs or averages, one value or several."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from search.config.space import DecodingConfig, ShareRange, SpaceConfig


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, {"b": None, "experts": "each", "non_layer": ("average",), "pairs": None}),
        ({"b": [1, 1], "t_u": [0, 2]}, {"b": (1, 1), "t_u": (0, 2)}),
        ({"non_layer": "task", "ramp": ["constant", "linear"]}, {"non_layer": ("task",)}),
        ({"pairs": [[0, 1], [[0, 1, 2], 0]]}, {"pairs": (((0,), (1,)), ((0, 1, 2), (0,)))}),
        ({"decoding": {"shots": [0, 5]}}, {"decoding": DecodingConfig(shots=(0, 5))}),
        ({"w_lang": {"low": 0.5, "high": 0.5}}, {"w_lang": ShareRange(low=0.5, high=0.5)}),
    ],
)
def test_what_is_taken(given: dict[str, Any], found: dict[str, Any]) -> None:
    space = SpaceConfig.model_validate(given)
    assert {name: getattr(space, name) for name in found} == found


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"t_u": [2, 0]}, "t_u: lowest 2 is above highest 0"),
        ({"w_lang": {"low": 0.9, "high": 0.1}}, "low 0.9 is above high 0.1"),
        ({"w_lang": {"low": 0.1, "high": 0.9, "step": 0}}, "greater than 0"),
        ({"pairs": []}, "is empty: give one at least"),
        ({"pairs": [[0, []]]}, "is empty: give one at least"),
        ({"pairs": [[0, 0]], "experts": "both"}, "experts=both makes the pairs itself"),
        ({"ramp": "steep"}, "'constant' or 'linear'"),
        ({"form": "components", "ramp": "linear"}, "form=components has none but constant"),
        ({"blocks": 8}, "blocks and start are for form=layerwise, not form=swap"),
        ({"form": "layerwise", "b": [0, 1]}, "b: form=layerwise has no zones, leave them out"),
        ({"form": "layerwise", "non_layer": "weighted"}, "form=layerwise has no weights"),
        ({"form": "layerwise"}, "w_lang from 0.5 to 0.5 in steps of 0.1 is one share: .* set such"),
        (
            {"form": "layerwise", "w_lang": {"low": 0.2, "high": 0.6, "step": 0.5}},
            "w_lang from 0.2 to 0.6 in steps of 0.5 is one share",
        ),
        ({"decoding": {"shots": [6]}}, "less than or equal to 5"),
    ],
)
def test_what_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SpaceConfig.model_validate(given)


def test_two_shares_of_blocks_are_enough() -> None:
    for low, high, step in ((0.0, 1.0, 1.0), (0.1, 0.4, 0.3), (0.7, 0.8, 0.1)):
        shares = {"low": low, "high": high, "step": step}
        SpaceConfig.model_validate({"form": "layerwise", "w_lang": shares})
