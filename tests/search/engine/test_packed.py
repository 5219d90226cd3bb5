"""Packed weights of whole experts: put back bit for bit, never more than is allowed."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import torch

from search.engine.experts import ExpertTensors
from search.engine.layout import Destination
from search.engine.packed import PackedLayers
from search.engine.writer import DirectWriter
from search.merging.mix import Mix, linear
from tests.search.engine.test_writer import COPY, HALF, MIXES, TIES, experts, fused, held, merged

__all__ = ["experts"]
OTHER = linear([("task/0", 1.0)])
SIZE = 6 * 4 * 2
"""Bytes of a `Fused` module's weight."""


def times(module: Any) -> int:
    """How often it was packed."""
    found: int = module.quant_method.times
    return found


def test_what_comes_back_is_not_packed_again(experts: ExpertTensors) -> None:
    (module, place), writer = fused(True), DirectWriter(experts, 10 * SIZE)
    wanted = [{"q": COPY, "k": COPY}, {"q": OTHER, "k": COPY}, {"q": OTHER, "k": OTHER}]
    seen = []
    for mixes in wanted:
        writer.write([place], mixes)
        seen.append(held(module))
    packed = times(module)
    for mixes, weight in zip(wanted * 2, seen * 2, strict=True):
        writer.write([place], mixes)
        assert torch.equal(held(module), weight)
    assert times(module) == packed
    writer.write([place], {"q": HALF, "k": COPY})  # a mix is packed each time
    writer.write([place], {"q": HALF, "k": COPY})
    assert times(module) == packed + 2


@pytest.mark.parametrize("room", [0, SIZE - 1, SIZE, 3 * SIZE])
def test_any_sequence_is_what_is_written_anew(experts: ExpertTensors, room: int) -> None:
    rng = random.Random(room)
    both = [fused(True) for _ in range(2)]
    writer = DirectWriter(experts, room)
    choices = [COPY, OTHER, *MIXES]
    for _ in range(60):
        mixes = {"q": rng.choice(choices), "k": rng.choice(choices)}
        module, place = rng.choice(both)
        writer.write([place], mixes)
        assert torch.equal(held(module)[:4], merged(experts, mixes["q"], "q"))
        assert torch.equal(held(module)[4:], merged(experts, mixes["k"], "k")[2:])
        assert writer._packed._bytes <= room
        assert writer._packed._bytes == SIZE * len(writer._packed._kept)


def test_what_was_longest_not_wanted_goes_first(experts: ExpertTensors) -> None:
    (_, place), packed = fused(True), PackedLayers(2 * SIZE)
    keys = []
    for q, k in itertools.islice(itertools.product((COPY, OTHER), repeat=2), 3):
        key = packed.key(place, {"q": q, "k": k})
        assert key is not None
        keys.append(key)
    packed.keep(keys[0])
    packed.keep(keys[1])
    assert packed.put_back(keys[0])
    packed.keep(keys[2])
    assert [packed.put_back(key) for key in keys] == [True, False, True]
    packed.clear()
    assert not any(map(packed.put_back, keys)) and packed._bytes == 0


@pytest.mark.parametrize("mix", [HALF, TIES, COPY._replace(rows=((0, "task/0"),))])
def test_what_is_mixed_or_plain_is_not_kept(mix: Mix) -> None:
    packed = PackedLayers(10 * SIZE)
    (_, place), (_, plain) = fused(True), fused(False)
    assert packed.key(place, {"q": COPY, "k": mix}) is None
    assert packed.key(plain, {"q": COPY, "k": COPY}) is None
    assert packed.key(Destination(place.module, (), place.packed), {}) is None
