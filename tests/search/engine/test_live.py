"""What the engine decides without vLLM: which requests run together."""

from __future__ import annotations

import pytest

from objectives.types import Request, Sampling
from search.engine.live import HELD_LOGPROBS, batches


def request(width: int = 1, tokens: int = 100, trace: bool = False) -> Request:
    return Request("", Sampling(tokens, beam_width=width), trace=trace)


def test_plain_requests_run_at_once() -> None:
    assert batches([request(tokens=n) for n in (5, 100, 7)], 100) == [[0, 1, 2]]


def test_kinds_run_apart_and_all_are_there() -> None:
    mixed = [request(), request(2), request(trace=True), request(3), request(2, 50), request()]
    mixed += [request(2, trace=True), request(trace=True)]
    assert batches(mixed, 100) == [[0, 5], [1, 6], [2, 7], [3], [4]]


@pytest.mark.parametrize(
    ("tokens", "trace_top", "sizes"),
    [(100, 100, [30]), (1000, 1000, [10, 10, 10]), (HELD_LOGPROBS, 1, [1] * 30)],
)
def test_traces_fit_into_memory(tokens: int, trace_top: int, sizes: list[int]) -> None:
    found = batches([request(tokens=tokens, trace=True) for _ in range(30)], trace_top)
    assert [len(places) for places in found] == sizes
    assert [place for places in found for place in places] == list(range(30))


def test_nothing_to_run() -> None:
    assert batches([], 100) == []
