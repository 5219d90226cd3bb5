"""TIES: task vectors are trimmed, vote on each entry's sign, and those that agree are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from objectives.types import Decoding
from search.merging.blocks import (
    ChunkMerge,
    MissedError,
    Survey,
    Tensor,
    Turns,
    deltas,
    plain_sum,
)
from search.merging.methods.common import (
    DENSITIES,
    SCALES,
    SHARES,
    pair_sources,
    parts,
    relative,
    rounded,
    rounded_density,
    shared,
    shares,
    short,
    used,
)
from search.merging.methods.faults import density_faults, finite_faults, weighted_faults
from search.merging.methods.linear import terms_in_words
from search.merging.methods.method import Arithmetic, Mergekit, Method, Recipe, Rival
from search.merging.methods.task_arithmetic import TaskArithmetic
from search.merging.mix import Mix, Term

HALF = 2**16 - 1
"""The largest half of the bit pattern of a float32."""
WINDOW = 2**18
"""Magnitudes around a threshold that a sample has foretold: 1.6% of it to either side."""
LARGE = 2**21
"""Elements of a tensor from which on loops are compiled; without them each takes 5 ns longer."""


@dataclass(frozen=True)
class Ties:
    """Trim, elect sign, disjoint mean (Yadav et al. 2023, arXiv 2306.01708, Algorithm 1).

    Attributes:
        experts: as in a soup.
        density: share of each task vector that is kept, largest magnitudes first (the paper's k).
        weights: one for each expert, >= 0, in election and mean; only the ratios count (the paper
            has none: equal weights).
        scale: factor of the merged task vector (the paper's lambda).
    """

    experts: tuple[str, ...]
    density: float
    weights: tuple[float, ...]
    scale: float = 1.0
    decoding: Decoding | None = None


def _faults(recipe: Ties, n_layers: int) -> list[str]:
    return [
        *weighted_faults(recipe.experts, recipe.weights),
        *finite_faults({"scale": recipe.scale}),
        *density_faults(recipe.density),
    ]


def _canonical(recipe: Ties, n_layers: int) -> Recipe:
    """Scaled to nothing, or of one untrimmed expert, it is task arithmetic."""
    names, weights = used(recipe.experts, relative(recipe.weights))
    density, scale = rounded_density(recipe.density), rounded(recipe.scale)
    if scale == 0.0 or (len(names) == 1 and density == 1.0):
        return TaskArithmetic(names[:1], (scale,), recipe.decoding)
    return Ties(names, density, weights, scale, recipe.decoding)


def _mix(form: Ties, layer: int | None, n_layers: int) -> Mix:
    return Mix("ties", tuple(map(Term, form.experts, form.weights)), form.density, form.scale)


def _label(form: Ties, recipe: Recipe, n_layers: int) -> list[str]:
    numbers = [f"density{short(form.density)}", f"scale{short(form.scale)}"]
    return ["TIES", *numbers, *parts(form.experts, shares(form.weights))]


def is_here(tensor: Tensor) -> bool:
    """Whether to look at its values costs nothing; elsewhere the device would be waited for."""
    return tensor.device.type == "cpu"


def _merge(mix: Mix, name: str, surveyed: Sequence[Tensor]) -> ChunkMerge:
    """Yadav et al. 2023, Algorithm 1, tensor by tensor as in mergekit's `ties`.

    The paper trims the whole task vector, mergekit each tensor of it. With weights w, as mergekit
    has it: elected sign = sign of the sum of w x trimmed (0 counts as +), then the sum over those
    that agree, divided by the sum of their weights.
    """
    import torch

    weights = [term.coefficient for term in mix.terms]
    one = torch.tensor(1.0)
    trim = None
    if surveyed:
        near = surveyed[1] if isinstance(surveyed[1], _Near) else None
        trim = _Trim(*(_foretold if near else _thresholds)(surveyed, mix.density))
        if near and near.whole >= LARGE:
            return _in_loops(weights, mix.scale, trim)

    def step(parts: list[Tensor], start: int) -> Tensor:
        trimmed = deltas(parts)
        if trim:
            trim(trimmed, start)
        weighted = [delta.mul_(weight) for delta, weight in zip(trimmed, weights, strict=True)]
        elected = plain_sum(weighted)
        sign = torch.copysign(one, elected)
        agreeing = [delta.mul_(sign).clamp_(min=0) for delta in weighted]
        votes = [delta.sign().mul_(own) for delta, own in zip(agreeing, weights, strict=True)]
        weight = plain_sum(votes).clamp_(min=min(weights))
        mean = plain_sum(agreeing).div_(weight).mul_(sign)
        return (mean if mix.scale == 1 else mean.mul_(mix.scale)).add_(parts[0])

    return step


def _in_loops(weights: Sequence[float], scale: float, trim: _Trim) -> ChunkMerge:
    """The same, of which compiled loops take less time on a CPU."""
    from search.merging.methods.ties_kernel import equals, first_left_out, merge

    def step(parts: list[Tensor], start: int) -> Tensor:
        found = equals(parts, trim.thresholds)
        room = trim.admit(found, start, start + parts[0].numel())
        ends = first_left_out(parts, trim.thresholds, found, room)
        return merge(parts, weights, scale, trim.thresholds, ends)

    return step


def _surveys(mix: Mix) -> Sequence[Callable[[Sequence[Any]], Survey]]:
    """Of every task vector's magnitudes: how many there are of each upper, then lower half."""
    if mix.density >= 1:
        return ()
    return (
        lambda sums: _upper_halves,
        lambda sums: partial(_lower_halves, _kept(sums[0], mix.density)[0]),
    )


def _sampled(mix: Mix) -> Sequence[Callable[[Sequence[Any]], Survey]]:
    """Of a sample as above; then of all, the magnitudes that are near the threshold."""
    if mix.density >= 1:
        return ()
    return (
        lambda sums: _upper_halves,
        lambda sums: partial(_Near, _windows(sums[0], mix.density)),
    )


def _windows(counts: Tensor, density: float) -> Tensor:
    """Where the windows begin in the middle of which the thresholds should be."""
    upper, rest = _kept(counts, density)
    within = counts.gather(1, upper[:, None])[:, 0].clamp_(min=1)
    middle = (upper << 16) + ((1 - rest / within) * HALF).long()
    return middle.sub_(WINDOW // 2).clamp_(0, 2**31 - WINDOW)


class _Near:
    """What chunks hold of magnitudes around each threshold: which, how many above, how many in all.

    Added to like a tensor.
    """

    def __init__(self, begins: Tensor, parts: list[Tensor]) -> None:
        """Look at a chunk; magnitudes as places in the windows that begin there."""
        import numpy as np

        found, above = list[list[Any]](), list[int]()
        for delta, begin in zip(deltas(parts), begins, strict=True):
            place = _bits(delta).sub_(begin.int()).numpy()  # below the window it is negative
            above.append(int(np.count_nonzero(place >= WINDOW)))
            found.append([_few(place, WINDOW)])
        self._found, self.above, self.whole = found, np.array(above), parts[0].numel()

    def add_(self, other: _Near) -> None:
        for own, more in zip(self._found, other._found, strict=True):
            own += more
        self.above += other.above
        self.whole += other.whole

    def places(self) -> list[Tensor]:
        """Of each task vector, all places; shape (how many there are,), in no order."""
        import numpy as np
        import torch

        return [torch.from_numpy(np.concatenate(chunks)) for chunks in self._found]


def _foretold(surveyed: Sequence[Any], density: float) -> tuple[Tensor, Tensor]:
    """`_thresholds`, where the windows hold them.

    Raises:
        MissedError: one of them does not.
    """
    import torch

    near: _Near = surveyed[1]
    wanted = max(int(near.whole * density), 1)
    found = []
    for begin, above, places in zip(
        _windows(surveyed[0], density), near.above, near.places(), strict=True
    ):
        rest = wanted - int(above)
        if not 0 < rest <= len(places):
            raise MissedError("a threshold is not where the sample had it")
        place = places.kthvalue(len(places) - rest + 1).values
        found.append((begin + place, rest - (places > place).count_nonzero()))
    bits, room = map(torch.stack, zip(*found, strict=True))
    return bits.int().view(torch.float32), room


def _upper_halves(parts: list[Tensor]) -> Tensor:
    return _histograms([_bits(delta).bitwise_right_shift_(16) for delta in deltas(parts)])


def _lower_halves(uppers: Tensor, parts: list[Tensor]) -> Tensor:
    """Of the magnitudes whose upper half is the one at the threshold."""
    import torch

    found = []
    for delta, upper in zip(deltas(parts), uppers, strict=True):
        lower = _bits(delta).bitwise_xor_(upper.int() << 16)  # small where the upper halves agree
        if is_here(lower):
            found.append(torch.from_numpy(_few(lower.numpy(), HALF + 1)))
        else:  # how many there are is not waited for
            found.append(lower.masked_fill_(lower > HALF, -1))
    return _histograms(found)


def _few(numbers: Any, below: int) -> Any:
    """Those from 0 to `below`, where most are others; arrays of numpy, which is faster at it."""
    import numpy as np

    return numbers[np.flatnonzero(numbers.view(np.uint32) < below)]


def _bits(delta: Tensor) -> Tensor:
    """Magnitudes are ordered as their bit patterns are, read as integers."""
    import torch

    return delta.abs_().view(torch.int32)


def _histograms(halves: Sequence[Tensor]) -> Tensor:
    """How many there are of each number from 0 to 65535; shape (number of task vectors, 2^16)."""
    import torch

    if is_here(halves[0]):
        return torch.stack([torch.bincount(half, minlength=HALF + 1) for half in halves])
    # bincount waits for the device; histc is exact up to 2^24 numbers, more than a chunk has.
    counts = [half.float().histc(HALF + 1, min=0, max=HALF + 1) for half in halves]
    return torch.stack(counts).long()


def _kept(counts: Tensor, density: float) -> tuple[Tensor, Tensor]:
    """The upper half of each task vector's threshold, and how many are wanted of its equals.

    As many are kept as mergekit keeps: int(density x number), at least 1.
    """
    return _select(counts, _wanted(counts.sum(1), density))


def _wanted(whole: Tensor, density: float) -> Tensor:
    return whole.double().mul(density).long().clamp_(min=1)


def _thresholds(surveyed: Sequence[Tensor], density: float) -> tuple[Tensor, Tensor]:
    """The smallest magnitude that is kept of each task vector, and how many of those equal to it.

    Differences of bf16 weights have many equal magnitudes.
    """
    import torch

    upper, rest = _kept(surveyed[0], density)
    lower, room = _select(surveyed[1], rest)
    return (upper << 16 | lower).int().view(torch.float32), room


def _select(counts: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The `wanted`-th largest of whole numbers below 2^16, and how many are wanted of its equals.

    One pass of a radix selection: exact, and needs a histogram instead of a sorted copy. Row by
    row; nothing is waited for where the counts are on a GPU.

    Args:
        counts: how many there are of each number, shape (n, 2^16).
        wanted: from 1 to the sum of the counts, or 0 where that is 0; shape (n,).

    Returns:
        The number and how many, each of shape (n,).
    """
    down = counts.flip(1).cumsum(1)  # how many are at least 65535, 65534, ...
    place = (down < wanted[:, None]).sum(1).clamp_(max=HALF)
    above = (down - counts.flip(1)).gather(1, place[:, None])[:, 0]
    return HALF - place, wanted - above


class _Trim:
    """Keeps the entries of largest magnitude of each task vector and sets the others to 0.

    Of those at the threshold the first in memory order are kept. Chunks may be worked on by several
    threads, if they are begun in that order.
    """

    def __init__(self, thresholds: Tensor, room: Tensor) -> None:
        """Take the smallest magnitude that is kept, and how many of its equals."""
        self.thresholds, self._room = thresholds, room
        self._turns = Turns()

    def admit(self, found: Tensor, start: int, end: int) -> Tensor:
        """How many of the equals that were found in a chunk are kept, if there are so many."""
        with self._turns.of(start, end):
            room = self._room
            self._room = (room - found).clamp_(min=0)
        return room

    def __call__(self, task_vectors: list[Tensor], start: int) -> None:
        """Trim a chunk in place."""
        import torch

        here, left = is_here(task_vectors[0]), self._room  # which only shrinks
        sizes = [delta.abs() for delta in task_vectors]
        equal: list[Tensor | None] = [
            None if here and not room else size == at
            for size, at, room in zip(sizes, self.thresholds, left, strict=True)
        ]
        none = torch.zeros_like(left[0])
        found = torch.stack([none if each is None else each.count_nonzero() for each in equal])
        room = self.admit(found, start, start + task_vectors[0].numel())
        for i, (delta, same) in enumerate(zip(task_vectors, equal, strict=True)):
            keep = sizes[i].gt_(self.thresholds[i])  # 1 or 0
            if same is not None:
                if not here or found[i] > room[i]:
                    same &= same.cumsum(0, dtype=torch.int32) <= room[i]
                keep.add_(same)
            delta.mul_(keep)


METHOD = Method(
    recipe=Ties,
    sources=lambda recipe: recipe.experts,
    faults=_faults,
    canonical=_canonical,
    mix=_mix,
    label=_label,
    arithmetic=Arithmetic(
        merge=_merge,
        surveys=_surveys,
        sampled=_sampled,
        words=lambda mix: (
            f"base and ties (density {mix.density:g}, scale {mix.scale:g}) of {terms_in_words(mix)}"
        ),
        mergekit=Mergekit(
            parameters=lambda mix: {"normalize": True, "lambda": mix.scale},
            settings=lambda mix: {"density": mix.density},
        ),
    ),
    rival=Rival(
        axes={"density": DENSITIES, "w_lang": SHARES, "scale": SCALES},
        recipe=lambda task, lang, n_layers, values: Ties(
            pair_sources(task, lang),
            values["density"],
            shared(task, lang, (1 - values["w_lang"], values["w_lang"])),
            values["scale"],
        ),
        role="best TIES",
    ),
)
