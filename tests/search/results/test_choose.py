"""The rule that recommends a recipe, the Pareto front and the rows of the final table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from objectives.types import Score, Split
from search.merging.recipe import (
    Components,
    LayerSwap,
    Layerwise,
    Recipe,
    Single,
    Slerp,
    Soup,
    Ties,
    key,
    label,
    soup,
)
from search.records.record import Record, State
from search.results.choose import best_soup, best_swap, final_rows, is_soup, pareto

L = 10
SOURCES = ["base", "lang/0", "lang/1", "reference/other", "task/10", "task/2"]


def share(value: float | None, n: int = 150) -> Score:
    return Score(value, value, value, n, n)


def trial(
    recipe: Recipe,
    accuracy: float,
    lcpr: float | None,
    state: State = "scored",
    split: Split = "search",
    origin: str = "search",
) -> Record:
    return Record(
        number=0,
        key=key(recipe, L),
        split=split,
        state=state,
        origin=origin,
        label=label(recipe, "te", L),
        recipe=recipe,
        scores={"accuracy": share(accuracy), "lcpr": share(lcpr)},
    )


def swap(b: int, u: int, task: int = 0, lang: int = 0, t_b: int = 1) -> LayerSwap:
    return LayerSwap(task, lang, b, u, t_b, 0)


EXPERTS = [trial(Single("lang/0"), 0.3, 0.98), trial(Single("lang/1"), 0.3, 0.90)]


def test_front_is_what_nothing_beats_in_both() -> None:
    a, b, c = (
        trial(swap(1, 1), 0.8, 0.7),
        trial(swap(2, 1), 0.6, 0.9),
        trial(swap(3, 1), 0.6, 0.8),
    )
    twin = trial(swap(4, 1), 0.8, 0.7)
    assert pareto([c, b, a, twin]) == [*sorted([a, twin], key=lambda r: r.key), b]


def test_front_leaves_out_what_is_not_comparable() -> None:
    good = trial(swap(1, 1), 0.5, 0.5)
    others = [
        trial(swap(2, 1), 0.9, 0.9, state="infeasible"),
        trial(swap(3, 1), 0.9, 0.9, state="failed"),
        trial(swap(4, 1), 0.9, 0.9, split="held_out"),
        trial(swap(5, 1), 0.9, None),
    ]
    assert pareto([*others, good]) == [good]


@pytest.mark.parametrize(
    ("tolerance", "b"),
    [(0.02, 2), (0.0, 3), (0.10, 1)],
)
def test_tolerance_decides_how_much_lcpr_may_be_lost(tolerance: float, b: int) -> None:
    records = [
        *EXPERTS,
        trial(swap(1, 1), 0.9, 0.89),
        trial(swap(2, 1), 0.8, 0.96),
        trial(swap(3, 1), 0.7, 0.98),
    ]
    choice = best_swap(records, L, tolerance)
    assert choice is not None
    assert choice.record.recipe == swap(b, 1)


def test_just_good_enough_is_good_enough() -> None:
    assert 0.20 - 0.02 > 0.18  # as floats
    records = [trial(Single("lang/0"), 0.3, 0.20), trial(swap(1, 1), 0.9, 0.18)]
    choice = best_swap([*records, trial(swap(2, 1), 0.8, 0.5)], L, 0.02)
    assert choice is not None and choice.record.recipe == swap(1, 1)


def test_each_pair_is_held_to_its_own_language_expert() -> None:
    own = trial(swap(1, 1, lang=1), 0.9, 0.89)  # expert 1 has 0.90, expert 0 has 0.98
    choice = best_swap([*EXPERTS, trial(swap(1, 1), 0.8, 0.98), own], L, 0.02)
    assert choice is not None
    assert choice.record == own
    assert "90.0%" in choice.reason and "88.0% for this pair" in choice.reason
    assert "2 of 2 swaps" in choice.reason


def test_a_single_swap_is_not_one_of_one() -> None:
    choice = best_swap([*EXPERTS, trial(swap(1, 1), 0.8, 0.98)], L, 0.02)
    assert choice is not None
    assert choice.reason.startswith(
        "Highest search accuracy, 80.0%, of the only swap, whose LCPR is at least "
    )


def test_unscored_expert_is_replaced_by_the_best_that_is_scored() -> None:
    low = trial(swap(1, 1, lang=2), 0.9, 0.95)
    high = trial(swap(2, 1, lang=2), 0.8, 0.97)
    choice = best_swap([*EXPERTS, low, high], L, 0.02)
    assert choice is not None and choice.record == high
    without = best_swap([low, high], L, 0.02)
    assert without is not None and without.record == low
    assert "no language expert" in without.reason


def test_singles_and_soups_are_never_recommended() -> None:
    rest = [*EXPERTS, trial(Single("task/0"), 0.99, 0.99), trial(soup(0, 0, L), 0.99, 0.99)]
    assert best_swap(rest, L, 0.02) is None
    choice = best_swap([*rest, trial(swap(1, 1), 0.1, 0.98)], L, 0.02)
    assert choice is not None and choice.record.recipe == swap(1, 1)


def test_ties_go_to_lcpr_then_to_the_smaller_swap() -> None:
    big, small = trial(swap(3, 2), 0.8, 0.98), trial(swap(1, 1), 0.8, 0.98)
    more, worse = trial(swap(1, 1, t_b=3), 0.8, 0.98), trial(swap(1, 0), 0.8, 0.97)
    for records in ([big, more, worse, small], [small, worse, more, big]):
        choice = best_swap([*EXPERTS, *records], L, 0.02)
        assert choice is not None and choice.record == small


def test_nobody_qualifies() -> None:
    choice = best_swap(
        [*EXPERTS, trial(swap(1, 1), 0.9, 0.3), trial(swap(2, 1), 0.5, 0.6)], L, 0.02
    )
    assert choice is not None
    assert choice.record.recipe == swap(2, 1)
    assert "none has an LCPR" in choice.reason and "96.0%" in choice.reason


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (soup(0, 1, L), True),
        (soup(0, 1, L, 0.3), True),
        (LayerSwap(0, 1, 0, 0, 4, 6, 0.4, 0.6), True),  # zones meet: every layer is averaged
        (Soup(("task/0", "task/1", "lang/0"), (1.0, 1.0, 2.0)), True),
        (LayerSwap(0, 1, 0, 0, 4, 5), False),
        (LayerSwap(0, 1, 0, 0, 0, 0), False),
        (Single("base"), False),
    ],
)
def test_what_a_soup_is(recipe: Recipe, expected: bool) -> None:
    assert is_soup(recipe, L) is expected


def test_rows_of_the_final_table_in_order() -> None:
    best = trial(swap(3, 2, task=1), 0.9, 0.98)
    records = [
        *EXPERTS,
        best,
        trial(soup(0, 0, L), 0.5, 0.9),
        trial(soup(1, 0, L), 0.6, 0.9),
    ]
    rows = final_rows(records, best_swap(records, L, 0.02), swap(1, 1), SOURCES, L)
    assert rows == [
        (("recommended",), swap(3, 2, task=1)),
        (("default recipe",), swap(1, 1)),
        (("best soup",), soup(1, 0, L)),
        (("control b=u=0",), LayerSwap(1, 0, 0, 0, 0, 0)),
        (("math expert",), Single("task/2")),
        (("math expert",), Single("task/10")),
        (("language expert",), Single("lang/0")),
        (("language expert",), Single("lang/1")),
        (("base",), Single("base")),
        (("reference other",), Single("reference/other")),
    ]


def test_each_rival_method_sends_its_best_recipe_whatever_its_language() -> None:
    experts = ("task/0", "lang/0")
    ties = [Ties(experts, density, (0.5, 0.5)) for density in (0.2, 0.5)]
    slerp = Slerp(0, 0, (0.5,))
    records = [
        *EXPERTS,
        trial(swap(3, 2), 0.9, 0.98),
        trial(ties[0], 0.5, 0.98, origin="ties"),
        trial(ties[1], 0.7, 0.10, origin="ties"),
        trial(slerp, 0.4, 0.9, origin="slerp"),
        trial(Slerp(0, 0, (0.7,)), 0.8, 0.9, state="infeasible", origin="slerp"),
    ]
    choice = best_swap(records, L, 0.02)
    assert choice is not None and choice.record.recipe == swap(3, 2)
    rows = final_rows(records, choice, swap(1, 1), ["base"], L)
    assert rows[2:5] == [
        (("best soup",), soup(0, 0, L)),
        (("best TIES",), ties[1]),
        (("best SLERP",), slerp),
    ]


def test_a_recipe_in_two_roles_is_one_row() -> None:
    default = LayerSwap(0, 0, 1, 1, 1, 1)
    same = LayerSwap(0, 0, 1, 1, 1, 1, 2.0, 2.0)  # another scale of the weights: the same model
    records = [*EXPERTS, trial(same, 0.9, 0.98)]
    rows = final_rows(records, best_swap(records, L, 0.02), default, ["base"], L)
    assert [row.roles for row in rows][:2] == [
        ("recommended", "default recipe"),
        ("best soup",),
    ]
    assert rows[1][1] == soup(0, 0, L)  # none was scored: the recommended pair's


def test_rows_without_a_choice() -> None:
    rows = final_rows([], None, swap(1, 1, task=2), ["base"], L)
    found = [role for roles, _ in rows for role in roles]
    assert found == ["default recipe", "best soup", "control b=u=0", "base"]
    assert rows[2][1] == LayerSwap(2, 0, 0, 0, 0, 0)
    assert best_soup([], L) is None


WIDER = [
    Components(0, 1, 3, 1, 1, 1, 1, 0),
    Layerwise(0, 1, (1.0, 0.25, 0, 0, 0, 0, 0, 0, 0, 0.5)),
]


@pytest.mark.parametrize("recipe", WIDER)
def test_a_wider_form_is_recommended_as_a_swap_is(recipe: Recipe) -> None:
    low = trial(replace(recipe, lang=0), 0.95, 0.5)  # type: ignore[type-var]
    records = [*EXPERTS, trial(swap(1, 1), 0.7, 0.97), trial(recipe, 0.9, 0.89), low]
    choice = best_swap(records, L, 0.02)
    assert choice is not None and choice.record.recipe == recipe
    assert "of the 2 of 3 swaps whose LCPR is at least" in choice.reason
    rows = {role: row.recipe for row in final_rows(records, choice, swap(1, 1), SOURCES, L)
            for role in row.roles}  # fmt: skip
    assert rows["recommended"] == recipe
    assert rows["control b=u=0"] == LayerSwap(0, 1, 0, 0, 0, 0)


def test_of_equal_recipes_the_one_that_takes_fewer_layers_is_recommended() -> None:
    few, many = Components(0, 0, 1, 1, 1, 0, 0, 0), Components(0, 0, 1, 1, 2, 1, 0, 0)
    choice = best_swap([trial(many, 0.9, 0.98), trial(few, 0.9, 0.98), *EXPERTS], L, 0.02)
    assert choice is not None and choice.record.recipe == few


def test_a_wider_form_that_averages_all_layers_is_a_soup() -> None:
    assert is_soup(Layerwise(0, 1, (0.5,)), L)
    assert not is_soup(WIDER[1], L)
