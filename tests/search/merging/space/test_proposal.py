"""What goes on record with a proposed recipe."""

from __future__ import annotations

import json
from typing import Any

from optuna.trial import FixedTrial

from search.merging.recipe import LayerSwap, from_dict, key, label
from search.merging.space.proposal import propose

SWAP = LayerSwap(0, 1, 2, 1, 1, 1, 0.4, 0.6)


def test_a_proposal_is_plain_data_and_named_on_its_trial() -> None:
    trial: Any = FixedTrial({})
    found = propose(trial, lambda: SWAP, "te", 12, set(), "search")
    assert from_dict(json.loads(found["recipe"])) == SWAP
    assert (found["key"], found["origin"]) == (key(SWAP, 12), "search")
    assert trial.user_attrs["label"] == label(SWAP, "te", 12)
    assert trial.user_attrs["repeated"] is False


def test_what_was_proposed_before_is_marked() -> None:
    trial: Any = FixedTrial({})
    propose(trial, lambda: SWAP, "te", 12, {key(SWAP, 12)}, "search")
    assert trial.user_attrs["repeated"] is True
