"""How fast bytes reach the GPU: pinned, registered, pageable, and through the ring."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import torch

from benchmarks.gpu.step import Finding, Given, speed
from benchmarks.materialise import write_tensors
from search.checkpoints.checkpoint import Checkpoint
from search.engine.device_writer import DeviceWriter
from search.engine.experts import ExpertTensors
from search.engine.link import CudaLink, HostLink, Link
from search.engine.staging import Staging
from search.merging.mix import linear

RING_GOAL = 25e9
THREADS = (1, 2, 4, 8)


def link(given: Given) -> Link:
    """The device's, or the stand-in."""
    return HostLink() if given.rehearse else CudaLink(given.device)


def run(given: Given) -> Iterator[Finding]:
    """Rates of 2 GiB (a rehearsal: 16 MiB)."""
    size = 2**24 if given.rehearse else 2**31
    here = link(given)
    target = torch.empty(size, dtype=torch.uint8, device=given.device)
    best = copied(given, target, here.host_slot(size))
    yield speed("pinned host memory", best, None, given)
    # Pages that nobody has written are one and the same page.
    mapped = torch.frombuffer(mmap.mmap(-1, size), dtype=torch.uint8).fill_(1)
    yield speed("pageable host memory", copied(given, target, mapped), None, given)
    registered = here.register(mapped)
    yield Finding("host memory can be registered", str(registered), "True", registered)
    if registered:
        yield speed("registered host memory", copied(given, target, mapped), 0.9 * best, given)
        here.unregister(mapped)
    yield from _ring(given, size)


def copied(given: Given, target: torch.Tensor, source: torch.Tensor) -> float:
    """Bytes a second from the host to the device."""
    return source.numel() / given.timed(lambda: target.copy_(source, non_blocking=True))


def _ring(given: Given, size: int) -> Iterator[Finding]:
    """From a mapped file, which the first round has read."""
    place = given.folder / "link"
    write_tensors(place, {"model.layers.0.w": (size // 2**13, 2**12)}, seed=0)
    checkpoint = Checkpoint.open(place)
    copy = linear([("x", 1.0)])
    shapes = {n: (info.shape, torch.bfloat16) for n, info in checkpoint.tensors.items()}
    for threads in THREADS:
        experts = ExpertTensors({"x": checkpoint}, given.device)
        writer = DeviceWriter(Staging(experts, link(given), threads), shapes)

        def once(writer: DeviceWriter = writer) -> None:
            writer.merged(copy, "model.layers.0.w")
            writer.finish()

        rate = size / given.timed(once)
        goal = RING_GOAL if threads == THREADS[-1] else None
        yield speed(f"mapped file through the ring, {threads} threads", rate, goal, given)
        writer.close()
