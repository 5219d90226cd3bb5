"""The suggested ranges: known answers, always valid, honest where the maps say nothing."""

from __future__ import annotations

import random

import pytest
from omegaconf import OmegaConf

from search.config.space import SpaceConfig
from search.inspect.suggest import Suggestion, layerwise_yaml, space_yaml, suggest
from search.merging.space.swap import make_space


def profile(n_layers: int, *layers: int) -> list[float]:
    """Shares of an expert that changed in these layers only, in each alike."""
    return [float(layer in layers) for layer in range(n_layers)]


def ranges(s: Suggestion) -> tuple[tuple[int, int] | None, ...]:
    return s.b, s.u, s.t_b, s.t_u


@pytest.mark.parametrize(
    ("n_layers", "lang", "task", "best", "expected"),
    [
        # Clear borders: one layer either way; transitions may take what costs a tenth.
        (8, (0, 1, 7), (2, 3, 4, 5, 6), (2, 1), ((1, 3), (0, 2), (0, 1), (0, 1))),
        # Layers 2 and 3 nobody changed: the bottom may end after, before or between them, and half
        # way into the task experts' layers at most.
        (8, (0, 1, 7), (4, 5, 6), (2, 1), ((1, 4), (0, 2), (0, 2), (0, 1))),
        # Language at the bottom only: a top layer is tried all the same.
        (12, (0, 1, 2, 3), tuple(range(4, 12)), (4, 0), ((3, 5), (0, 1), (0, 1), (0, 1))),
        # A task layer costs exactly a tenth: one more than that is the last.
        (12, (10, 11), tuple(range(10)), (0, 2), ((0, 2), (1, 4), (0, 2), (0, 2))),
        # 32 layers, four at each end: a language layer is worth 1/8, a task layer 1/24.
        (32, (0, 1, 2, 3, 28, 29, 30, 31), tuple(range(4, 28)), (4, 4), None),
    ],
)
def test_known_answers(
    n_layers: int,
    lang: tuple[int, ...],
    task: tuple[int, ...],
    best: tuple[int, int],
    expected: tuple[tuple[int, int], ...] | None,
) -> None:
    found = suggest([profile(n_layers, *lang)], [profile(n_layers, *task)])
    assert f"b={best[0]} u={best[1]} keeps most" in found.why
    assert ranges(found) == (expected or ((2, 7), (2, 7), (0, 4), (0, 4)))


def test_strength_does_not_count_and_experts_of_a_kind_are_averaged() -> None:
    lang, task = profile(8, 0, 1, 7), profile(8, 2, 3, 4, 5, 6)
    weak = [share / 64 for share in lang]
    assert suggest([weak], [task]) == suggest([lang], [task])
    assert suggest([lang, weak, [0.0] * 8], [task, task]) == suggest([lang], [task])
    other = suggest([lang, profile(8, 0, 1, 2, 3)], [task])
    assert other.lead == pytest.approx([7 / 24, 7 / 24, *[1 / 8 - 1 / 5] * 2, *[-1 / 5] * 3, 1 / 6])


def test_the_lead_sums_to_nothing() -> None:
    assert sum(suggest([[0.3, 0.1, 0.5]], [[0.1, 0.9, 0.2]]).lead) == pytest.approx(0)


@pytest.mark.parametrize(
    ("lang", "task", "why"),
    [
        ([0.25] * 8, [0.25] * 8, "keeps 0% of what"),
        ([0.3, 0.2] * 4, [0.2, 0.3] * 4, "less than 20%"),
        ([0.0] * 8, [0.25] * 8, "no column of the language experts"),
        ([0.25] * 8, [0.0] * 8, "no column of the task experts"),
        ([0.5], [0.5], "keeps 0% of what"),
    ],
)
def test_where_the_maps_say_nothing_the_whole_model_is_searched(
    lang: list[float], task: list[float], why: str
) -> None:
    found = suggest([lang], [task])
    assert ranges(found) == (None,) * 4
    assert why in found.why
    assert found.why.endswith("search the whole model")


@pytest.mark.slow
@pytest.mark.parametrize("n_layers", [1, 2, 3, 4, 7, 10, 32, 80])
def test_every_suggestion_is_a_valid_space_around_the_best_swap(n_layers: int) -> None:
    rng = random.Random(n_layers)
    told = 0
    for _ in range(200):
        lang, task = ([[rng.random() ** 4 for _ in range(n_layers)]] for _ in range(2))
        found = suggest(lang, task)
        text = OmegaConf.to_container(OmegaConf.create(space_yaml(found, "demo / te")))
        assert isinstance(text, dict)
        parsed = SpaceConfig.model_validate(text)
        assert (parsed.b, parsed.u, parsed.t_b, parsed.t_u) == ranges(found)
        make_space(
            lang="te",
            n_layers=n_layers,
            n_task=1,
            n_lang=1,
            b=parsed.b,
            u=parsed.u,
            t_b=parsed.t_b,
            t_u=parsed.t_u,
        )
        if found.b and found.u:
            told += 1
            b, u = (int(part.split("=")[1]) for part in found.why.split()[:2])
            assert found.b[0] <= b <= found.b[1]
            assert found.u[0] <= u <= found.u[1]
            kept = sum(found.lead[:b]) + sum(found.lead[n_layers - u :])
            splits = [(i, j) for j in range(n_layers + 1) for i in range(j)]
            assert kept == pytest.approx(max(-sum(found.lead[i:j]) for i, j in splits))
    assert told > 0 or n_layers == 1


@pytest.mark.parametrize("n_layers", [1, 2, 10, 32])
def test_shares_of_blocks_are_what_each_kind_changed(n_layers: int) -> None:
    found = suggest([[1.0] * n_layers], [[1.0] + [0.0] * (n_layers - 1)])
    given = OmegaConf.to_container(OmegaConf.create(layerwise_yaml(found, "demo / te")))
    parsed = SpaceConfig.model_validate(given)
    assert parsed.blocks is not None and len(parsed.start) == parsed.blocks
    assert parsed.start[-1] == (1.0 if n_layers > 1 else 0.5)
    assert parsed.start[0] <= 0.8 and all(share == 1.0 for share in parsed.start[1:])


def test_experts_that_did_not_change_give_no_start() -> None:
    assert "start: []" in layerwise_yaml(suggest([[0.0] * 4], [[1.0] * 4]), "demo / te")
