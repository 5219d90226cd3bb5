"""Rules of choice: what each takes of trials whose answers are made up, and the accounting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.search_quality import choices
from benchmarks.search_quality.choices import BEST, Chosen, Tried, compare_on, table
from objectives.stats import proportion
from objectives.types import Score
from search.merging.recipe import LayerSwap, key
from search.records.record import Record
from tests.benchmarks.test_replay import made_up

L = 10


def tried(*rights: tuple[LayerSwap, Sequence[int], Sequence[int]]) -> Tried:
    """Of each recipe the items that it has right of those seen, of 20, and of its own, of 10."""
    trials, seen, own = [], [], []
    for recipe, right, more in rights:
        scores = {"accuracy": proportion(len(right), 20, 20), "lcpr": Score(1.0, 1.0, 1.0, 20, 20)}
        trials.append(Record(0, key(recipe, L), "search", "scored", "search", "", recipe, scores))
        seen.append([i in right for i in range(20)])
        own.append([i in more for i in range(10)])
    return Tried(made_up(), trials, np.array(seen), np.array(own))


def swap(b: int, u: int) -> LayerSwap:
    return LayerSwap(0, 0, b, u, 0, 0)


LUCKY = swap(4, 4), range(15), range(2)
SMALLER = swap(1, 1), range(14), range(9)
SMALL_AND_POOR = swap(0, 1), range(2), range(10)
MADE_UP = tried(LUCKY, SMALLER, SMALL_AND_POOR)


@pytest.mark.parametrize(
    ("rule", "row"),
    [
        (BEST, 0),
        ("fewest layers, p >= .05", 1),  # the poor one is told from the best
        ("fewest layers, half an error", 0),  # of 4.8 points; the other is 5 points below
    ],
)
def test_rules_of_a_search_that_sees_all(rule: str, row: int) -> None:
    assert choices.WHOLE[rule](MADE_UP) == row


def test_within_half_an_error_the_smaller_is_taken() -> None:
    equal = swap(1, 1), range(5, 20), ()
    assert choices.half_an_error(tried(LUCKY, equal, SMALL_AND_POOR)) == 1


def test_the_model_believes_the_neighbours() -> None:
    """Of two equal scores that among good recipes is worth more."""
    good = [(swap(b, u), range(18), ()) for b in (1, 2, 3) for u in (0, 2)]
    poor = [(swap(b, 5), range(2), ()) for b in (3, 4, 5)]
    ends = [(swap(4, 4), range(19), ()), (swap(2, 1), range(19), ())]
    assert choices.posterior_mean(tried(*good, *poor, *ends)) == len(good) + len(poor) + 1


@pytest.mark.parametrize(("count", "old", "row"), [(2, True, 1), (3, True, 1), (3, False, 2)])
def test_a_shortlist_is_compared_on_its_own_items(count: int, old: bool, row: int) -> None:
    assert choices.shortlist(count, old=old)(MADE_UP) == row
    assert choices.shortlist(1, old=old)(MADE_UP) == 0


def test_items_are_drawn_again() -> None:
    recorded = made_up().recorded
    found = recorded.with_items([0, 299, 1], [60, 2])
    assert (found.right("search")[:, 1] == recorded.right("held_out")[:, 239]).all()
    assert (found.right("held_out")[:, 0] == recorded.right("held_out")[:, 0]).all()
    assert found.tokens["mgsm.held_out"].shape == (len(recorded.keys), 2)


@pytest.mark.slow
@pytest.mark.parametrize("drawn", [True, False])
def test_every_rule_chooses_on_equal_answers(drawn: bool) -> None:
    found = compare_on(made_up().recorded, 0, drawn, (10, 14))
    rules = {c.rule for c in found}
    assert len(found) == 2 * len(rules) and len(rules) == len(choices.WHOLE) + 2 * len(
        choices.LISTS
    )
    for c in found:
        whole = c.trials * 60
        assert 0 <= c.held_out <= 1
        if c.rule in choices.WHOLE:
            assert c.answers == whole
        elif c.rule.endswith("equal answers"):
            assert whole - 45 < c.answers <= whole
        else:
            assert c.answers == c.trials * 45 + 15 * choices.LISTS[c.rule][0] < whole
    assert found == compare_on(made_up().recorded, 0, drawn, (10, 14))


def test_the_table_shows_differences_on_the_same_seeds() -> None:
    found = [
        Chosen("te", rule, 20, 4000, value, 3.0)
        for rule, values in ((BEST, (0.5, 0.7)), ("other", (0.6, 0.8)))
        for value in values
    ]
    lines = list(table(found))
    assert any(line.startswith(f"| {BEST} | 60.00 (") for line in lines)
    assert "| other | +10.00 (+10.00 to +10.00) | 4,000 | 3.0 |" in lines
