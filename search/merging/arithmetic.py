"""The arithmetic of merging: one tensor of the merged model from its namesakes in the sources.

Everything is float32 and rounded once to the checkpoint's dtype. Each element is computed alone, so
its bits do not depend on threads or chunks; the order of operations is mergekit's, and so are the
bits, but for what the methods' docstrings say. Knows nothing of files, recipes or engines.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import torch

from search.merging.plan import Mix

CHUNK = {"cpu": 2**18, "cuda": 2**26}
"""Elements merged at a time: the few pieces of 1 MiB float32 that a merge needs at once stay in a
CPU's caches, and an operation on one takes longer than to call it."""

SLERP_DOT_THRESHOLD = 0.9995
"""Cosine beyond which two tensors are taken as parallel: mergekit's `dot_threshold`."""

Result = TypeVar("Result")
ChunkMerge = Callable[[list[torch.Tensor]], torch.Tensor]
"""One chunk of every source, float32, not to be written into -> the merged chunk, float32. Called
for the chunks in their order."""


def combine(mix: Mix, tensors: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    """The merged tensor.

    Args:
        mix: how it is made.
        tensors: source -> its tensor, for each of `mix.sources`; one shape, dtype and device.
        name: the tensor's name in the checkpoint; DARE's random numbers hang on it.

    Returns:
        A tensor of the sources' dtype. A copy (one linear term with coefficient 1) is the source's
        own tensor, bit for bit and not to be written into; so is what holds no floating point
        numbers, of the first source.
    """
    first = tensors[mix.sources[0]]
    if is_copy(mix) or not first.is_floating_point():
        return first
    merged = torch.empty_like(first, memory_format=torch.contiguous_format)
    combine_into(mix, tensors, name, merged)
    return merged


def is_copy(mix: Mix) -> bool:
    """Whether the merged tensor is a source's own."""
    return mix.method == "linear" and len(mix.terms) == 1 and mix.terms[0].coefficient == 1.0


def is_elementwise(mix: Mix) -> bool:
    """Whether each element depends on its namesakes alone, so that a part can be merged."""
    return mix.method in ("linear", "task_arithmetic")


def combine_into(
    mix: Mix, tensors: Mapping[str, torch.Tensor], name: str, out: torch.Tensor
) -> None:
    """`combine`, written where the merged tensor is wanted: each source is read once.

    Args:
        mix: how it is made.
        tensors: as for `combine`; where the mix is elementwise, equal parts (views) of the tensors.
        name: the tensor's name in the checkpoint.
        out: written into: of the sources' shape and device, of any strides and dtype.
    """
    sources = [tensors[source] for source in mix.sources]
    first = sources[0]
    if is_copy(mix) or not first.is_floating_point():
        out.copy_(first)
        return
    step = _step(mix, sources, name)

    def write(place: Any) -> None:
        merged = step(_parts(sources, place))
        if out.dtype != first.dtype:
            merged = merged.to(first.dtype)  # rounded as the checkpoint would hold it
        out[place].copy_(merged.view(out[place].shape))

    if is_elementwise(mix):
        _for_blocks(write, first)
    else:  # the others count on the order
        for place in _blocks(first):
            write(place)


def _step(mix: Mix, sources: Sequence[torch.Tensor], name: str) -> ChunkMerge:
    coefficients = [term.coefficient for term in mix.terms]
    if mix.method == "linear":
        return lambda parts: _average(parts, coefficients)
    if mix.method == "slerp":
        ends = _slerp_coefficients(sources, coefficients[1])
        return lambda parts: _sum(parts, ends)
    if mix.method == "ties":
        return _ties(mix, sources)
    if mix.method == "dare_linear":
        return _dare(mix, name)
    return lambda parts: parts[0] + _sum(_deltas(parts), coefficients)


def _blocks(tensor: torch.Tensor) -> list[Any]:
    """Places of blocks of rows, in memory order."""
    if tensor.dim() == 0:
        return [...]
    size = CHUNK.get(tensor.device.type, CHUNK["cuda"])
    rows = max(1, size * tensor.shape[0] // max(tensor.numel(), 1))
    return [slice(at, at + rows) for at in range(0, tensor.shape[0], rows)]


def _for_blocks(work: Callable[[Any], Result], tensor: torch.Tensor) -> list[Result]:
    """The results for all blocks; on a CPU several are worked on at a time."""
    blocks = _blocks(tensor)
    if len(blocks) == 1 or tensor.device.type != "cpu":
        return list(map(work, blocks))
    return list(_threads().map(work, blocks))


@cache
def _threads() -> ThreadPoolExecutor:
    """One block for each thread; operations as short as these gain nothing by being split."""
    n = torch.get_num_threads()
    return ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,))


def _parts(sources: Sequence[torch.Tensor], place: Any) -> list[torch.Tensor]:
    """A block of every source, float32 and flat."""
    return [tensor[place].to(torch.float32).reshape(-1) for tensor in sources]


def _chunks(sources: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Each block of every source, in memory order."""
    return (_parts(sources, place) for place in _blocks(sources[0]))


def _deltas(parts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Task vectors: every tensor after the first minus the first, the base."""
    return [part - parts[0] for part in parts[1:]]


def _average(parts: Sequence[torch.Tensor], coefficients: Sequence[float]) -> torch.Tensor:
    """Each product is added in one rounding (fused multiply-add)."""
    total = parts[0] * coefficients[0]
    for part, coefficient in zip(parts[1:], coefficients[1:], strict=True):
        total.add_(part, alpha=coefficient)
    return total


def _sum(parts: Sequence[torch.Tensor], coefficients: Sequence[float]) -> torch.Tensor:
    """Product and sum are rounded one after the other."""
    total = parts[0] * coefficients[0]
    for part, coefficient in zip(parts[1:], coefficients[1:], strict=True):
        total.add_(part * coefficient)
    return total


def _total(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return _sum(parts, [1.0] * len(parts))


def _ties(mix: Mix, sources: Sequence[torch.Tensor]) -> ChunkMerge:
    """Yadav et al. 2023, Algorithm 1, tensor by tensor as in mergekit's `ties`.

    The paper trims the whole task vector, mergekit each tensor of it. With weights w, as mergekit
    has it: elected sign = sign of the sum of w x trimmed (0 counts as +), then the sum over those
    that agree, divided by the sum of their weights.
    """
    weights = [term.coefficient for term in mix.terms]
    trims = [_Trim(sources[0], expert, mix.density) for expert in sources[1:]]

    def step(parts: list[torch.Tensor]) -> torch.Tensor:
        trimmed = [trim(delta) for trim, delta in zip(trims, _deltas(parts), strict=True)]
        weighted = [delta.mul_(weight) for delta, weight in zip(trimmed, weights, strict=True)]
        elected = _total(weighted)
        sign = torch.copysign(torch.ones_like(elected), elected)
        agreeing = [delta.mul_(sign).clamp_(min=0) for delta in weighted]
        weight = _sum([delta.sign() for delta in agreeing], weights)
        mean = _total(agreeing).div_(weight.clamp_(min=min(weights))).mul_(sign)
        return mean.mul_(mix.scale).add_(parts[0])

    return step


class _Trim:
    """Keeps the entries of largest magnitude of one task vector and sets the others to 0.

    As many as mergekit keeps: int(density x number), at least 1. Differences of bf16 weights have
    many equal magnitudes: of those at the threshold the first in memory order are kept.
    """

    def __init__(self, base: torch.Tensor, expert: torch.Tensor, density: float) -> None:
        self._all = density >= 1 or base.numel() == 0
        if self._all:
            return
        wanted = max(1, int(density * base.numel()))

        def select(wanted: int, digits: Callable[[torch.Tensor], torch.Tensor]) -> tuple[int, int]:
            def count(place: Any) -> torch.Tensor:
                # Magnitudes are ordered as their bit patterns are, read as integers.
                bits = _deltas(_parts([base, expert], place))[0].abs().view(torch.int32)
                return torch.bincount(digits(bits), minlength=2**16)

            return _select(
                sum(_for_blocks(count, base), torch.zeros((), dtype=torch.int64)), wanted
            )

        high, rest = select(wanted, lambda bits: bits >> 16)
        low, self._room = select(rest, lambda bits: bits[bits >> 16 == high] & 0xFFFF)
        pattern = torch.tensor(high << 16 | low, dtype=torch.int32)
        self._threshold = pattern.view(torch.float32).item()

    def __call__(self, delta: torch.Tensor) -> torch.Tensor:
        if self._all:
            return delta
        size = delta.abs()
        keep = size > self._threshold
        if self._room:
            equal = size == self._threshold
            found = int(equal.count_nonzero())
            if found > self._room:
                equal &= equal.cumsum(0) <= self._room
            self._room -= min(found, self._room)
            keep |= equal
        return delta * keep


def _select(counts: torch.Tensor, wanted: int) -> tuple[int, int]:
    """The `wanted`-th largest of whole numbers below 2^16, and how many are wanted of its equals.

    One pass of a radix selection: exact, and needs a histogram instead of a sorted copy.

    Args:
        counts: how many there are of each number, shape (2^16,).
        wanted: from 1 to the sum of the counts.
    """
    down = counts.flip(0).cumsum(0)  # how many are at least 65535, 65534, ...
    place = int((down < wanted).sum())
    above = int(down[place - 1]) if place else 0
    return 2**16 - 1 - place, wanted - above


def _dare(mix: Mix, name: str) -> ChunkMerge:
    """Yu et al. 2023, eq. 2-3: each entry is kept with chance `density` and divided by it.

    mergekit's `dare_linear` instead scales what is kept to the sum of magnitudes before; the two
    agree on average.
    """
    scales = [term.coefficient / mix.density for term in mix.terms]
    series = [_Bernoulli(mix.density, f"{mix.seed} {term.source} {name}") for term in mix.terms]

    def step(parts: list[torch.Tensor]) -> torch.Tensor:
        kept = [delta * keep(delta) for delta, keep in zip(_deltas(parts), series, strict=True)]
        return parts[0] + _sum(kept, scales)

    return step


class _Bernoulli:
    """A series of random yes and no that is the same on every device and in every version.

    splitmix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure
    16), started from a hash of the series' name.
    """

    def __init__(self, chance: float, name: str) -> None:
        digest = hashlib.sha256(name.encode()).digest()
        self._start = int.from_bytes(digest[:8], "big", signed=True)
        self._bound = min(round(chance * 2**64), 2**64 - 1) - 2**63
        self._next = 1

    def __call__(self, like: torch.Tensor) -> torch.Tensor:
        end = self._next + like.numel()
        bits = torch.arange(self._next, end, dtype=torch.int64, device=like.device)
        self._next = end
        bits = bits * _signed(0x9E3779B97F4A7C15) + self._start  # modulo 2^64
        bits = (bits ^ _shift(bits, 30)) * _signed(0xBF58476D1CE4E5B9)
        bits = (bits ^ _shift(bits, 27)) * _signed(0x94D049BB133111EB)
        return torch.lt(bits ^ _shift(bits, 31), self._bound)


def _signed(value: int) -> int:
    """The 64 bits of a whole number as torch's int64 holds them."""
    return value - 2**64 if value >= 2**63 else value


def _shift(bits: torch.Tensor, by: int) -> torch.Tensor:
    """Shift to the right, filling with zeros (torch's own fills with the sign)."""
    return (bits >> by) & ((1 << 64 - by) - 1)


def _slerp_coefficients(sources: Sequence[torch.Tensor], t: float) -> tuple[float, float]:
    """sin((1-t) a) / sin a and sin(t a) / sin a, a the angle between the tensors (Shoemake 1985).

    1 - t and t where the tensors are nearly parallel or opposite. Sums in float64: mergekit takes
    them in float32, so its coefficients differ in the 7th digit.
    """
    squares = dots = others = 0.0
    for one, other in ((a.double(), b.double()) for a, b in _chunks(sources)):
        squares += float(one.dot(one))
        dots += float(one.dot(other))
        others += float(other.dot(other))
    cosine = dots / (math.sqrt(squares * others) or 1.0)
    if abs(cosine) > SLERP_DOT_THRESHOLD:
        return 1 - t, t
    angle = math.acos(cosine)
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)
