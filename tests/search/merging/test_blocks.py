"""Blocks cover a tensor once, in order; sums are what they say."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

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
    found = list(blocks.for_blocks(lambda start, at: (start, tensor[at].flatten()), tensor))
    parts = [part for _, part in found]
    assert torch.cat([torch.zeros(0), *parts]).tolist() == tensor.flatten().tolist()
    assert [start for start, _ in found] == [int(part[0]) for part in parts]


def test_turns_are_taken_in_memory_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever thread comes first; and nobody waits for ever for one that failed."""
    turns, order = blocks.Turns(), list[int]()

    def work(start: int) -> None:
        time.sleep(0.01 if start == 0 else 0)
        with turns.of(start, start + 10):
            order.append(start)

    with ThreadPoolExecutor(3) as pool:
        deque(pool.map(work, [0, 10, 20]), maxlen=0)
    assert order == [0, 10, 20]
    monkeypatch.setattr(blocks, "TURN_SECONDS", 0.01)
    with pytest.raises(RuntimeError, match="chunk before element 40 has not been merged"):
        work(40)


def test_sums_of_task_vectors() -> None:
    parts = [torch.tensor([1.0, 2.0]), torch.tensor([2.0, 2.0]), torch.tensor([0.0, 6.0])]
    found = blocks.deltas(parts)
    assert [delta.tolist() for delta in found] == [[1.0, 0.0], [-1.0, 4.0]]
    for total in (blocks.weighted_sum, blocks.fused_sum):
        assert total(found, [0.5, 2.0]).tolist() == [-1.5, 8.0]
    assert [part.tolist() for part in parts] == [[1.0, 2.0], [2.0, 2.0], [0.0, 6.0]]
