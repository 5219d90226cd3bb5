"""What is there: the device, versions, and that all imports work."""

from __future__ import annotations

import platform
from collections.abc import Iterator

import torch

from benchmarks.gpu.step import Finding, Given
from search.run.prepare import versions


def run(given: Given) -> Iterator[Finding]:
    """A line each."""
    import mlflow  # noqa: F401
    import optuna  # noqa: F401
    import ray  # noqa: F401
    import vllm  # noqa: F401

    found = " ".join(f"{name} {text}" for name, text in versions().items())
    yield Finding("versions", found)
    if given.rehearse:
        yield Finding("device", f"{platform.machine()} CPU, a rehearsal")
        return
    present = torch.cuda.is_available()
    yield Finding("CUDA", str(torch.version.cuda), "there", present)
    properties = torch.cuda.get_device_properties(0)
    free, total = torch.cuda.mem_get_info()
    yield Finding("device", f"{properties.name}, {total / 2**30:.1f} GiB")
    yield Finding("memory that nobody else has", f"{free / total:.0%}", "95%", free > 0.95 * total)
