"""An engine without a model: real in all that a trial can see of one, and ready in no time.

Its completions are a pure function of the plan and the request; `tests/search/engine/contract.py`
holds it and `search.engine.live.Engine` to one contract. Faults are injected through a folder that
all processes of a run share, see `Faults`.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from objectives.types import Completion, Request
from search.checkpoints.family import FittedFamily
from search.common.errors import EngineDeadError, EngineStartError, MaterialiseError
from search.engine.contract import EngineOptions, Materialised, NonFinite
from search.merging.plan import Plan, layer_of
from search.merging.recipe import Single


@dataclass(frozen=True)
class Faults:
    """What goes wrong, said by files in a folder.

    `hang` and `dead` happen once, to whoever takes the file away first; `broken` holds the id of
    a process under which no engine starts, such as a node's.

    Attributes:
        folder: the files' place; None for none.
        seconds: what each generation takes.
        not_finite: of this many plans about one gives NaN; 0 for none.
    """

    folder: Path | None = None
    seconds: float = 0.0
    not_finite: int = 0

    def take(self, name: str) -> bool:
        """Whether this fault was waiting, and is this process's now."""
        if self.folder is None:
            return False
        try:
            os.rename(self.folder / name, self.folder / f"{name}.{os.getpid()}.{time.time_ns()}")
        except FileNotFoundError:
            return False
        return True

    def broken(self) -> bool:
        """Whether engines cannot start here."""
        try:
            pid = int((self.folder / "broken").read_text()) if self.folder is not None else None
        except FileNotFoundError:
            return False
        return pid in {process.pid for process in psutil.Process().parents()}


@dataclass
class FakeEngine:
    """Answers word problems with one of the sums that can be made of their numbers, in Telugu."""

    family: FittedFamily
    options: EngineOptions
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        if self.faults.broken():
            raise EngineStartError("no engine starts on this node")
        self._loaded: Any = dict(self.family.plan(Single("base")))
        # As vLLM's workers: a process that ends when the pipe from its parent does.
        self._worker = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)

    def materialise(self, wanted: Plan) -> Materialised | NonFinite:
        """Remember the plan."""
        if set(wanted) != set(self.family.names):
            raise MaterialiseError("the plan's tensors are not the family's")
        changed = [name for name in wanted if self._loaded.get(name) != wanted[name]]
        layers = {layer_of(name) for name in changed} - {None}
        self._loaded = dict(wanted)
        return Materialised(2 * len(changed), len(layers), len(changed), 0.0)

    def generate(self, requests: Sequence[Request]) -> list[Completion] | NonFinite:
        """Answer every prompt, in order."""
        if self.faults.take("dead"):
            raise EngineDeadError("the fake engine is dead")
        if self.faults.take("hang"):
            ctypes.PyDLL(None).sleep(100_000)  # as code that never gives Python's lock back
        time.sleep(self.faults.seconds)
        if self._worker.poll() is not None:
            raise EngineDeadError("the fake engine's worker is dead")
        merged = _digest(*(f"{n}{self._plain(n)}" for n in sorted(self._loaded)))
        every = self.faults.not_finite
        if every and merged % every == 0:
            return NonFinite("NaN or infinity in the logits")
        return [_answer(merged, request) for request in requests]

    def adopt(self, family: FittedFamily) -> bool:
        """Answer by the checkpoints of another family."""
        mine = self.family
        if (family.paths["base"], family.names) != (mine.paths["base"], mine.names):
            return False
        self.family, self._loaded = family, {}
        return True

    def _plain(self, name: str) -> str:
        """How a tensor is made, with the checkpoints' own names."""
        said = repr(self._loaded[name].plain())
        for source, checkpoint in self.family.sources.items():
            said = said.replace(repr(source), repr(checkpoint.path.name))
        return said

    def close(self) -> None:
        """End the worker."""
        assert self._worker.stdin is not None
        self._worker.stdin.close()
        self._worker.wait()


def _answer(merged: int, request: Request) -> Completion:
    if request.continuation is not None:
        nats = _digest(merged, request.prompt, request.continuation) % 10_000 / 1000
        return Completion("", 0, "stop", logprob=-nats, greedy=nats < 1)
    chosen = _digest(merged, request.prompt, request.sampling, request.seed)
    numbers = [int(n) for n in re.findall(r"\d+", str(request.prompt))] or [0]
    for place, number in enumerate(numbers[1:], 1):
        numbers[0] += number if chosen >> place & 1 else -number
    words = f"సీత వద్ద ఇప్పుడు మొత్తం బంతి ఉన్నాయి. సమాధానం {numbers[0]}."
    if chosen % 10 == 0:
        words = f"There are now so many of them here. The answer is {numbers[0]}."
    tokens = words.split()[: request.sampling.max_tokens]
    text = " ".join(tokens)
    for stop in request.sampling.stop:
        text = text.partition(stop)[0]
    reason = "length" if len(tokens) == request.sampling.max_tokens else "stop"
    return Completion(text, len(tokens), reason)


def _digest(*parts: object) -> int:
    """The same number for the same parts, in every process."""
    text = "\n".join(map(repr, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
