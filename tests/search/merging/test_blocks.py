"""Blocks cover a tensor once, in order; sums are what they say."""

from __future__ import annotations

import pytest
import torch

from search.merging import blocks


@pytest.mark.parametrize(
    ("shape", "n_blocks"),
    [((), 1), ((5,), 1), ((10,), 1), ((11,), 2), ((7, 4), 4), ((3, 40), 3), ((0, 4), 0)],
)
def test_blocks_cover_every_row_once(
    shape: tuple[int, ...], n_blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(blocks.CHUNK, "cpu", 10)
    tensor = torch.arange(torch.Size(shape).numel()).reshape(shape)
    assert len(blocks.blocks(tensor)) == n_blocks
    parts = [part for (part,) in blocks.chunks([tensor])]
    assert torch.cat([torch.zeros(0), *parts]).tolist() == tensor.flatten().tolist()
    sizes = blocks.for_blocks(lambda place: tensor[place].numel(), tensor)
    assert sizes == [part.numel() for part in parts]


def test_sums_of_task_vectors() -> None:
    parts = [torch.tensor([1.0, 2.0]), torch.tensor([2.0, 2.0]), torch.tensor([0.0, 6.0])]
    found = blocks.deltas(parts)
    assert [delta.tolist() for delta in found] == [[1.0, 0.0], [-1.0, 4.0]]
    for total in (blocks.weighted_sum, blocks.fused_sum):
        assert total(found, [0.5, 2.0]).tolist() == [-1.5, 8.0]
    assert [part.tolist() for part in parts] == [[1.0, 2.0], [2.0, 2.0], [0.0, 6.0]]
