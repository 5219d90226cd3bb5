"""The picture and the tables: same bytes, every expert and layer in it, readable at 32 layers."""

from __future__ import annotations

import io
from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.image import imread
from rich.console import Console
from rich.table import Table

from search.inspect.expert_vectors import Cell, ExpertVectors
from search.inspect.heat_map import draw, layer_table, matrix_table
from search.inspect.suggest import Suggestion, suggest

MATRICES = ("self_attn.q_proj", "self_attn.q_proj.bias", "mlp.down_proj", "input_layernorm")


def vectors(n_layers: int, n_each: int) -> tuple[ExpertVectors, Suggestion]:
    """Language experts changed the outer quarters, task experts the middle."""
    experts = [f"{kind}/{i}" for kind in ("task", "lang") for i in range(n_each)]
    outer = [not n_layers // 4 <= i < n_layers - n_layers // 4 for i in range(n_layers)]
    shares = {
        expert: tuple(0.37 * (end == expert.startswith("lang")) for end in outer)
        for expert in experts
    }
    cells = [
        Cell(expert, layer, matrix, 64, share, 0.1, 0.1, 0.1)
        for expert in experts
        for layer, share in enumerate(shares[expert])
        for matrix in MATRICES
    ]
    cells += [Cell(expert, None, "lm_head", 64, 0.91, 0.1, 0.1, 0.1) for expert in experts]
    cosines = {
        pair: tuple(float("nan") if i == 0 else 0.125 for i in range(n_layers))
        for pair in combinations(experts, 2)
    }
    measured = ExpertVectors(
        n_layers, dict.fromkeys(experts, 0.01), tuple(cells), shares, cosines, MATRICES, 2
    )
    kinds = [[s for e, s in shares.items() if e.startswith(kind)] for kind in ("lang", "task")]
    return measured, suggest(*kinds)


def shown(table: Table) -> list[str]:
    console = Console(file=io.StringIO(), width=80)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(("n_layers", "n_each"), [(4, 1), (32, 3), (80, 2)])
def test_the_picture_is_always_the_same(n_layers: int, n_each: int, tmp_path: Path) -> None:
    measured, suggestion = vectors(n_layers, n_each)
    names = {expert: f"{expert}\nfolder" for expert in measured.experts}
    files = [tmp_path / "first.png", tmp_path / "second.png"]
    for file in files:
        assert draw(measured, suggestion, names, "demo / te", file) == file
    assert files[0].read_bytes() == files[1].read_bytes()
    height, width = imread(files[0]).shape[:2]
    assert height > 400
    assert 100 * (len(names) + 4) < width < 5000


@pytest.mark.slow
def test_the_picture_shows_what_it_is_given(tmp_path: Path) -> None:
    """Other numbers, other suggestions, other pictures."""
    measured, suggestion = vectors(8, 1)
    other, _ = vectors(8, 2)
    nothing = suggest([[0.1] * 8], [[0.1] * 8])
    names = {"task/0": "task/0", "lang/0": "lang/0"}
    pictures = {
        draw(v, s, names, title, tmp_path / "x.png").read_bytes()
        for v, s, title in (
            (measured, suggestion, "te"),
            (measured, nothing, "te"),
            (measured, suggestion, "sw"),
            (other, suggestion, "te"),
        )
    }
    assert len(pictures) == 4


def test_layer_table_is_readable_at_32_layers_in_80_columns() -> None:
    lines = shown(layer_table(*vectors(32, 3)))
    rows = [line.split() for line in lines if line.strip()[:1].isdigit()]
    assert [int(row[0]) for row in rows] == list(reversed(range(32)))
    assert rows[0] == ["31", "0", "0", "0", "37", "37", "37", "+6.2", "+0.12", "language"]
    assert rows[16] == ["15", "37", "37", "37", "0", "0", "0", "-6.2", "+0.12", "task"]
    assert rows[-1][-2:] == ["+6.2", "language"]  # no cosine in layer 0
    assert "either" in {row[-1] for row in rows}
    assert "…" not in "".join(lines)


def test_matrix_table_has_what_lies_outside_the_layers() -> None:
    lines = shown(matrix_table(vectors(8, 2)[0]))
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.split()}
    assert rows["self_attn.q_proj.bias"] == ["18"] * 4  # half of the layers at 37%
    assert rows["lm_head"] == ["91"] * 4
