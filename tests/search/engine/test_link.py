"""The link where both ends are the host's, and, on a machine with a GPU, CUDA's."""

from __future__ import annotations

import pytest
import torch

from search.engine.link import CudaLink, HostLink, Link

LINKS = [
    HostLink,
    pytest.param(
        lambda: CudaLink(torch.device("cuda")),
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine"),
    ),
]


@pytest.mark.parametrize("make", LINKS)
def test_what_is_copied_has_arrived(make: type[HostLink]) -> None:
    link: Link = make()
    slot = link.host_slot(1024)
    slot.fill_(3)
    there = torch.zeros(1024, dtype=torch.uint8, device=link.device)
    link.copies_wait(link.merged())
    with link.copying():
        there.copy_(slot, non_blocking=True)
    arrived = link.arrived()
    doubled = there * 2
    arrived()
    slot.fill_(9)
    link.finish()
    assert doubled.unique().tolist() == [6]


@pytest.mark.parametrize("make", LINKS)
def test_memory_is_registered_and_let_go(make: type[HostLink]) -> None:
    link: Link = make()
    memory = torch.zeros(2**16, dtype=torch.uint8)
    for _ in range(2):
        assert link.register(memory)
        link.unregister(memory)
