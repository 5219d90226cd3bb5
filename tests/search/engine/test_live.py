"""What the engine decides without vLLM: which requests run together, and who may write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock, Timeout

from objectives.types import Request, Sampling
from search.checkpoints.family import Family, fit
from search.common.errors import MaterialiseError
from search.engine.contract import Materialised, NonFinite
from search.engine.live import HELD_LOGPROBS, Engine, batches, copy_threads, in_turn
from search.engine.versions import CHANGING, WeightVersion, label
from search.merging.plan import plan
from search.merging.recipe import Single


def request(width: int = 1, tokens: int = 100, trace: bool = False) -> Request:
    return Request("", Sampling(tokens, beam_width=width), trace=trace)


def test_plain_requests_run_at_once() -> None:
    assert batches([request(tokens=n) for n in (5, 100, 7)], 100) == [[0, 1, 2]]


def free(folder: Path, gpu: str) -> bool:
    """Whether nobody has a GPU's lock."""
    try:
        with FileLock(folder / f"start-{gpu}.lock").acquire(timeout=0):
            return True
    except Timeout:
        return False


def test_engines_that_share_a_gpu_start_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8a/1,3")
    with in_turn(0.45, False, tmp_path):
        assert not free(tmp_path, "GPU-8a-1-3")
        with in_turn(0.9, False, tmp_path):
            pass  # alone on its GPU: it waits for nobody
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
        with in_turn(0.45, False, tmp_path):
            pass  # on another GPU
    assert free(tmp_path, "GPU-8a-1-3") and free(tmp_path, "2")


def test_engines_on_a_cpu_start_at_once(tmp_path: Path) -> None:
    with in_turn(0.45, True, tmp_path):
        assert not list(tmp_path.iterdir())


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


def test_seeds_run_by_themselves_where_they_must() -> None:
    seeded = replace(request(), seed=3)
    mixed = [request(), seeded, request(2), seeded, replace(request(trace=True), seed=4)]
    assert batches(mixed, 100) == [[0, 1, 3], [2], [4]]
    assert batches(mixed, 100, seeds_apart=True) == [[0], [1, 3], [2], [4]]


def test_nothing_to_run() -> None:
    assert batches([], 100) == []


class Workers:
    """The part of vLLM that a rewrite needs: two workers that answer what they are told to."""

    def __init__(self, **answers: Any) -> None:
        self.called: list[str] = []
        self.versions: list[str] = []
        self.answers = answers
        self.llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=self.shutdown))

    def shutdown(self) -> None:
        self.called.append("shutdown")

    def collective_rpc(
        self, method: str, timeout: float | None = None, args: tuple[Any, ...] = ()
    ) -> list[Any]:
        self.called.append(method)
        answer = self.answers.get(method, [None, None])
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    def set_weight_version(self, version: str) -> None:
        self.versions.append(version)

    def reset_prefix_cache(self) -> bool:
        self.called.append("reset")
        return True


def engine(family: Family, workers: Workers) -> Engine:
    made = Engine.__new__(Engine)
    made._family = fit(family.sources("te"), check_finite=False)
    made.llm = workers
    made._loaded = dict(plan(Single("base"), made._family.names, made._family.n_layers))
    made._version = WeightVersion(workers)
    return made


def rewrite(family: Family, workers: Workers) -> Materialised | NonFinite:
    made = engine(family, workers)
    return made.materialise(plan(Single("task/0"), made._family.names, made._family.n_layers))


def test_all_workers_look_before_any_writes(tiny_llama: Family) -> None:
    workers = Workers(swap_non_finite=[[], []], swap_write=[7, 7])
    done = rewrite(tiny_llama, workers)
    assert isinstance(done, Materialised) and done.bytes == 7
    assert workers.called == ["swap_non_finite", "swap_write", "reset"]
    family = fit(tiny_llama.sources("te"), check_finite=False)
    assert workers.versions == [CHANGING, label(family.plan(Single("task/0")))]


def test_what_one_worker_finds_keeps_all_from_writing(tiny_llama: Family) -> None:
    """The second holds the half of a tensor with the NaN."""
    found = [[], [["task/0", "b"], ["task/0", "a"], ["task/0", "a"]]]
    workers = Workers(swap_non_finite=found, swap_write=AssertionError())
    done = rewrite(tiny_llama, workers)
    assert done == NonFinite("NaN or infinity in 2 source tensors (task/0: a)")
    assert workers.called == ["swap_non_finite"] and not workers.versions


def test_a_failed_look_or_write_is_told(tiny_llama: Family) -> None:
    for method in ("swap_non_finite", "swap_write"):
        workers = Workers(swap_non_finite=[[], []]) if method == "swap_write" else Workers()
        workers.answers[method] = RuntimeError("the disk is gone")
        with pytest.raises(MaterialiseError, match=r"rewrite of \d+ tensors failed: the disk is"):
            rewrite(tiny_llama, workers)
        assert workers.versions == [CHANGING] * (method == "swap_write")


@pytest.mark.parametrize("answer", [[None, None], RuntimeError("dead")])
def test_workers_let_go_of_the_experts_first(tiny_llama: Family, answer: Any) -> None:
    workers = Workers(swap_close=answer)
    made = engine(tiny_llama, workers)
    made.close()
    made.close()
    assert workers.called == ["swap_close", "shutdown"]


@pytest.mark.parametrize(
    ("said", "threads"), [("3", 3), ("64", 8), ("0", 1), ("", 2), ("4,2", 2), (None, 2)]
)
def test_threads_that_copy(said: str | None, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert copy_threads() == threads
