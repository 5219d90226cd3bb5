"""The pictures: which files, what stands in them, where labels go."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from search.merging.recipe import LayerSwap, Single, soup
from search.records.record import Record
from search.results import figures
from search.results.choose import best_swap
from tests.search.results.test_choose import L, swap, trial

DEFAULT = swap(1, 1)
TRIALS = [
    trial(Single("base"), 0.20, 0.99),
    *(trial(Single(f"task/{i}"), 0.45 + i / 50, 0.05 + i / 50) for i in range(3)),
    *(trial(Single(f"lang/{i}"), 0.30 + i / 50, 0.98 - i / 100) for i in range(3)),
    trial(soup(0, 0, L), 0.55, 0.96),
    trial(soup(1, 0, L), 0.57, 0.97),
    trial(DEFAULT, 0.70, 0.97),
    trial(swap(2, 1), 0.80, 0.98),
    trial(swap(2, 1, t_b=2), 0.60, 0.98),
    trial(swap(4, 3), 0.40, 0.70),
]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The figures that were saved, by file name."""
    kept: dict[str, Any] = {}
    save = figures._save

    def keep(figure: Any, file: Path) -> Path:
        kept[file.name] = figure
        return save(figure, file)

    monkeypatch.setattr(figures, "_save", keep)
    yield kept


def draw(trials: list[Record], folder: Path) -> list[Path]:
    choice = best_swap(trials, L, 0.02)
    return figures.draw(trials, choice, DEFAULT, folder, family="demo", lang="te", n_layers=L)


@pytest.mark.slow
def test_both_files_are_pictures_and_always_the_same(tmp_path: Path) -> None:
    files = draw(TRIALS, tmp_path)
    assert [file.name for file in files] == ["pareto.png", "landscape.png"]
    assert imread(files[0]).shape[:2] > (500, 800)
    before = [file.read_bytes() for file in files]
    assert [file.read_bytes() for file in draw(TRIALS, tmp_path)] == before


@pytest.mark.slow
def test_the_front_the_star_and_the_baselines(tmp_path: Path, drawn: dict[str, Any]) -> None:
    draw(TRIALS, tmp_path)
    figure = drawn["pareto.png"]
    (axes,) = figure.axes
    assert axes.get_title().startswith("demo / te")
    (front,) = [line for line in axes.lines if line.get_label() == "Pareto front"]
    assert front.get_xydata()[[0, -1]].round(6).tolist() == [[80, 98], [20, 99]]
    groups = {c.get_label(): c.get_offsets().tolist() for c in axes.collections}
    assert groups["recommended: b2 u1 tb1 tu0 w.50 m0-l0"] == [pytest.approx([80, 98])]
    assert groups["default recipe: b1 u1 tb1 tu0 w.50 m0-l0"] == [pytest.approx([70, 97])]
    assert len(groups["swap (2)"]) == 2 and len(groups["soup (2)"]) == 2
    names = [text.get_text() for text in axes.texts]
    assert sorted(names) == ["base", "best soup", "l0", "l1", "l2", "m0", "m1", "m2"]


@pytest.mark.slow
def test_labels_do_not_cross_each_other(tmp_path: Path, drawn: dict[str, Any]) -> None:
    close = [trial(Single(f"lang/{i}"), 0.30 + i / 500, 0.98) for i in range(5)]
    draw([*TRIALS, *close], tmp_path)
    figure = drawn["pareto.png"]
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 10
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


@pytest.mark.slow
def test_cells_hold_the_best_swap_of_each_b_u(tmp_path: Path, drawn: dict[str, Any]) -> None:
    whole = trial(LayerSwap(0, 0, 10, 0, 0, 0), 0.99, 0.5)  # the language expert's layers, no swap
    draw([*TRIALS, whole], tmp_path)
    axes = drawn["landscape.png"].axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(1, 1): "70.0", (2, 1): "80.0", (4, 3): "40.0"}
    (frame,) = axes.patches
    assert frame.get_bbox().containsx(2) and frame.get_bbox().containsy(1)
    assert "demo / te" in axes.get_title() and "over all pairs" in axes.get_title()


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    assert draw([], tmp_path) == []
    assert [f.name for f in draw(TRIALS[:4], tmp_path)] == ["pareto.png"]
    assert [f.name for f in draw([trial(swap(1, 1), 0.5, None)], tmp_path)] == ["landscape.png"]
