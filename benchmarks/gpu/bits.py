"""Every merge method on the device, in pieces, against the same on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.gpu.links import link
from benchmarks.gpu.step import Finding, Given
from benchmarks.materialise import write_tensors
from search.checkpoints.checkpoint import Checkpoint
from search.engine.device_writer import DeviceWriter
from search.engine.experts import ExpertTensors
from search.engine.staging import Staging
from search.merging.arithmetic import combine
from search.merging.mix import Mix, Term, linear

TERMS = (Term("task/0", 0.4), Term("lang/0", 0.7))
MIXES = {
    "copy": linear([("lang/0", 1.0)]),
    "average": linear([("task/0", 0.5), ("lang/0", 0.5)]),
    "task arithmetic": Mix("task_arithmetic", TERMS),
    "TIES": Mix("ties", TERMS, density=0.3),
    "DARE": Mix("dare_linear", TERMS, density=0.4, seed=3),
    "SLERP": Mix("slerp", TERMS, base=""),
}
SLERP_SHARE = 1e-3
"""Elements that may differ in the last place: its angle is a sum whose order differs."""


def run(given: Given) -> Iterator[Finding]:
    """A tensor that takes many pieces, and one that is odd."""
    rows = 600 if given.rehearse else 16_384
    shapes = {"model.layers.0.w": (rows, 4096), "model.layers.0.v": (7, 11)}
    sources = {}
    for number, name in enumerate(("base", "task/0", "lang/0")):
        place = given.folder / "bits" / str(number)
        write_tensors(place, shapes, seed=number)
        sources[name] = Checkpoint.open(place)
    facts = {name: (shape, torch.bfloat16) for name, shape in shapes.items()}
    writer = DeviceWriter(Staging(ExpertTensors(sources, given.device), link(given), 4), facts)
    for method, mix in MIXES.items():
        different = total = 0
        for name in shapes:
            found = writer.merged(mix, name)
            writer.finish()
            there = found.cpu()
            here = combine(mix, {s: sources[s].read(name) for s in mix.sources}, name)
            different += int((there.view(torch.int16) != here.view(torch.int16)).sum())
            total += here.numel()
        allowed = SLERP_SHARE if method == "SLERP" else 0.0
        yield Finding(
            f"{method}: elements that differ from the CPU's",
            f"{different} of {total:,}",
            f"at most {allowed:.1%}",
            different <= allowed * total,
        )
    writer.close()
