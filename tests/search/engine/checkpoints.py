"""Small checkpoints with tensors of chosen shapes, to merge."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from search.checkpoints.checkpoint import Checkpoint
from tests.search.engine.modules import noise

SOURCES = ("base", "task/0", "lang/0")


def checkpoints(
    folder: Path,
    shapes: Mapping[str, Sequence[int]],
    dtype: torch.dtype = torch.bfloat16,
    sources: Sequence[str] = SOURCES,
) -> dict[str, Checkpoint]:
    """A base, and experts near it."""
    for seed, source in enumerate(sources):
        place = folder / source.replace("/", "-")
        place.mkdir(parents=True)
        (place / "config.json").write_text(json.dumps({"num_hidden_layers": 1}))
        tensors = {}
        for i, (name, shape) in enumerate(shapes.items()):
            base = noise(*shape, seed=i, dtype=torch.float32)
            moved = 0.05 * noise(*shape, seed=100 * seed + i, dtype=torch.float32)
            tensors[name] = (base + (moved if seed else 0)).to(dtype)
        save_file(tensors, place / "model.safetensors")
    return {s: Checkpoint.open(folder / s.replace("/", "-")) for s in sources}
