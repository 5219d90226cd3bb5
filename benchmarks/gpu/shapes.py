"""Rewrites of a model with Llama 3.1 8B's shapes, from each tier, with the memory they take."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import torch

from benchmarks.gpu.links import copied, link
from benchmarks.gpu.step import ROOM, Finding, Given, speed
from benchmarks.materialise import SOURCES, measured, recipes, write_family
from search.engine.budgets import ACTIVATIONS, GIB
from search.engine.pinned import FOLDER

WHOLE = 16.06e9
"""Bytes of the model; the goals in seconds are for so many."""
PEAK = 512 * 2**20
UTILIZATION = 0.9
"""Share of the GPU that an engine takes by itself."""
CACHE = 1.0
"""GiB for the key-value cache and for rewriting."""


def run(given: Given) -> Iterator[Finding]:
    """Each recipe from files, from pinned memory, from GPU memory."""
    place = given.folder / "family"
    half = shutil.disk_usage(given.folder).free < ROOM  # then half of the layers
    write_family(place, "tiny" if given.rehearse else "llama-3.1-8b", 16 if half else None)
    need = sum(f.stat().st_size for f in place.rglob("*.safetensors")) / 2**30 + 1
    wire = None if given.rehearse else _link(given)
    tiers = {"files": (0.0, 0.0), "pinned": (0.0, need), "GPU memory": (need, 0.0)}
    for tier, budgets in tiers.items():
        missing = _missing(given, tier, need)
        if missing:
            yield Finding(f"from {tier}", missing)
            continue
        found = measured(place, True, *budgets)
        weights = found["bytes"]
        for title in recipes(4):
            seconds, _, peak = found[title]
            goal, passed = _goal(tier, title, weights, wire), None
            if goal is not None and not given.rehearse:
                passed = seconds <= goal
            shown = "" if goal is None else f"{goal:.2f} s"
            yield Finding(f"{title}, from {tier}", f"{seconds:.3f} s", shown, passed)
            if not given.rehearse:
                yield Finding(
                    f"{title}, from {tier}: memory beside the model",
                    f"{peak / 2**20:.0f} MiB",
                    f"{PEAK / 2**20:.0f} MiB",
                    peak <= PEAK,
                )
        yield speed(f"full swap, from {tier}", weights / found["full swap"][0], None, given)
    yield Finding("weights", f"{weights / 1e9:.2f} GB, {len(SOURCES)} checkpoints")


def _missing(given: Given, tier: str, need: float) -> str:
    """Why a tier cannot hold so many GiB; empty where it can."""
    if tier == "files":
        return ""
    if given.rehearse:
        return "a CPU has no such tier"
    if tier == "pinned":
        room, place = shutil.disk_usage(FOLDER.parent).free / GIB, str(FOLDER.parent)
    else:
        total = torch.cuda.get_device_properties(given.device).total_memory
        room = (UTILIZATION * total - ACTIVATIONS) / GIB - need / len(SOURCES) - CACHE
        place = "the GPU beside the model"
    return "" if room >= need else f"not run: {place} has room for {room:.0f} of {need:.0f} GiB"


def _goal(tier: str, title: str, weights: int, wire: float | None) -> float | None:
    """Seconds; None where none is set."""
    if title == "full swap" and tier == "files":
        return weights / 25e9
    if title == "full swap" and tier == "pinned":
        return None if wire is None else weights / (0.8 * wire)
    if tier == "GPU memory" and title in ("full swap", "soup of the whole"):
        return (0.1 if title == "full swap" else 0.2) * weights / WHOLE
    return None


def _link(given: Given) -> float:
    target = torch.empty(2**30, dtype=torch.uint8, device=given.device)
    return copied(given, target, link(given).host_slot(2**30))
