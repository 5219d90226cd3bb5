"""Tiers of the experts' tensors: budgets, what leaves first, and that none are mixed up."""

from __future__ import annotations

import pytest
import torch

from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import Family, fit
from search.engine.experts import ExpertTensors, Tier, describe

ROW = torch.zeros(25)  # 100 bytes


def tier(budget: int, *sources: str) -> Tier:
    found = Tier(budget)
    for source in sources:
        assert found.has_room(100, ())
        found.put(source, "x", ROW)
    return found


def test_the_checkpoint_used_longest_ago_leaves_as_a_whole() -> None:
    held = tier(400, "a", "b", "c")
    held.put("a", "y", ROW)
    assert held.get("b", "x") is not None
    assert held.sources == ("c", "a", "b")
    assert held.has_room(100, ())
    assert (held.sources, held.bytes) == (("a", "b"), 300)
    assert held.has_room(200, ())
    assert (held.sources, held.bytes) == (("b",), 100)
    assert held.get("a", "x") is None


def test_what_a_merge_needs_stays() -> None:
    held = tier(200, "a", "b")
    assert not held.has_room(100, {"a", "b"})
    assert held.sources == ("a", "b")
    assert held.has_room(100, {"a"})
    assert held.sources == ("a",)


def test_nothing_enters_a_tier_that_is_too_small() -> None:
    held = tier(200, "a")
    assert not held.has_room(201, ())
    assert Tier(0).has_room(1, ()) is False


@pytest.fixture
def sources(tiny_llama: Family) -> dict[str, Checkpoint]:
    return dict(fit(tiny_llama.sources("te")).sources)


def test_on_a_cpu_the_mapped_files_are_read(sources: dict[str, Checkpoint]) -> None:
    experts = ExpertTensors(sources, torch.device("cpu"), 10**9, 10**9)
    name = "model.layers.0.mlp.up_proj.weight"
    tensor = experts.read("task/0", name)
    assert torch.equal(tensor, sources["task/0"].read(name))
    assert experts.device_tier.bytes == experts.pinned_tier.bytes == 0


def test_tensors_come_in_order_and_stay_while_the_budget_lasts(
    sources: dict[str, Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that only counts stands in for a GPU; pinning needs one and is left out."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    names = [f"model.layers.{i}.mlp.up_proj.weight" for i in range(3)]
    size = sources["base"].tensors[names[0]].bytes
    experts = ExpertTensors(sources, torch.device("meta"), 4 * size, 2 * size)
    wanted = [(name, ("task/0", "lang/0")) for name in names]
    for (name, _), tensors in zip(wanted, experts.read_all(wanted), strict=True):
        assert set(tensors) == {"task/0", "lang/0"}
        assert all(t.shape == sources["base"].read(name).shape for t in tensors.values())
    assert (experts.device_tier.bytes, experts.pinned_tier.bytes) == (4 * size, 2 * size)
    assert experts.read("task/0", names[0]) is experts.read("task/0", names[0])
    both = ("task/0", "lang/0")
    assert experts.read("task/0", names[2], both) is not experts.read("task/0", names[2], both)
    assert experts.read("base", names[0]) is experts.read("base", names[0])
    assert len(experts.device_tier.sources) == 2 and "base" in experts.device_tier.sources


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_tiers_hold_the_files_bits_on_a_gpu(sources: dict[str, Checkpoint]) -> None:
    device = torch.device("cuda")
    for budgets in ((0, 0), (0, 10**9), (10**9, 10**9)):
        experts = ExpertTensors(sources, device, *budgets)
        wanted = [(name, ("task/0", "base")) for name in sources["base"].tensors] * 2
        for (name, _), tensors in zip(wanted, experts.read_all(wanted), strict=True):
            for source, tensor in tensors.items():
                assert torch.equal(tensor.cpu(), sources[source].read(name)), (budgets, name)


@pytest.mark.parametrize(
    ("budgets", "words"),
    [
        ((0, 0), "0.30 GB; memory-mapped files"),
        ((0.2, 0), "0.2 GiB of GPU memory for 2 of them, then memory-mapped"),
        ((0.1, 9), "for 1 of them, then 9 GiB of pinned host memory for 3 of them, then memory"),
    ],
)
def test_tiers_are_described(budgets: tuple[float, float], words: str) -> None:
    sizes = {"base": 10**8, "task/0": 10**8, "lang/0": 10**8}
    assert words in describe(sizes, *budgets)
