"""Tiers of the experts' tensors: budgets, what leaves first, and that none are mixed up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from search.checkpoints.checkpoint import Checkpoint
from search.engine.experts import ExpertTensors, Read, Tier
from search.engine.link import HostLink
from search.engine.pinned import PinnedFiles
from search.engine.views import ParameterView, contiguous
from tests.search.engine.checkpoints import checkpoints

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


SHAPES = {"a": (6, 4), "b": (10,)}
WHOLE = contiguous((24,))
TOP = contiguous((3, 4))


def read(source: str, name: str, view: ParameterView, held: ParameterView | None = None) -> Read:
    return Read(source, name, view, held or view, view.plain if held is None else view)


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Checkpoint]:
    return checkpoints(tmp_path / "models", SHAPES)


def test_without_tiers_the_mapped_files_are_read(sources: dict[str, Checkpoint]) -> None:
    experts = ExpertTensors(sources, torch.device("cpu"))
    for _ in range(2):
        found = experts.locate(read("task/0", "a", TOP))
        assert found.there is found.keep is None and not found.pinned
        assert torch.equal(found.host, sources["task/0"].read("a")[:3])
    assert experts.bytes(read("task/0", "a", TOP)) == 24


def test_a_slice_is_held_once_all_its_parts_are_on_their_way(
    sources: dict[str, Checkpoint],
) -> None:
    experts = ExpertTensors(sources, torch.device("cpu"), 48)
    parts = [contiguous((n,), at) for at, n in ((0, 10), (10, 10), (20, 4))]
    experts.begin(["base"])
    for part in parts:
        found = experts.locate(read("base", "a", part, WHOLE))
        assert found.there is None and found.keep is not None
        found.keep.copy_(found.host)
    assert experts.device_tier.bytes == 48
    expected = sources["base"].read("a").flatten()
    for part in [*parts, WHOLE]:
        found = experts.locate(read("base", "a", part, WHOLE))
        assert found.there is not None and torch.equal(found.there, part.of(expected))
    other = experts.locate(read("base", "a", TOP))  # another slice, for which there is no room
    assert other.there is other.keep is None
    experts.begin(["task/0"])
    assert experts.locate(read("task/0", "a", WHOLE)).keep is not None  # the base has left
    assert experts.device_tier.sources == ("task/0",)


def test_what_arrived_in_part_is_forgotten(sources: dict[str, Checkpoint]) -> None:
    experts = ExpertTensors(sources, torch.device("cpu"), 1000)
    experts.begin(["base"])
    experts.locate(read("base", "a", contiguous((10,)), WHOLE))
    experts.begin(["base"])
    assert experts.device_tier.bytes == 0
    assert experts.locate(read("base", "a", contiguous((10,)), WHOLE)).there is None


def test_of_pinned_memory_the_device_reads_what_lies_together(
    sources: dict[str, Checkpoint], tmp_path: Path
) -> None:
    pinned = PinnedFiles(10**6, HostLink(), folder=tmp_path / "shm")
    experts = ExpertTensors(sources, torch.device("cpu"), pinned=pinned)
    columns = ParameterView((6, 2), (4, 1), 2)
    for view, by_itself in ((TOP, True), (columns, False)):
        found = experts.locate(read("lang/0", "a", view))
        assert found.pinned is by_itself
        assert torch.equal(found.host, view.of(sources["lang/0"].read("a")))
    del found
    experts.close()
    assert not list((tmp_path / "shm").glob("*.weights"))
