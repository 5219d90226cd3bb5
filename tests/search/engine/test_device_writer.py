"""Rewrites in pieces: the same bits as on a CPU, in bounded memory, from every tier."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from search.checkpoints.checkpoint import Checkpoint
from search.engine.device_writer import DeviceWriter
from search.engine.experts import ExpertTensors
from search.engine.layout import Copy, Destination
from search.engine.link import CudaLink, HostLink, Link
from search.engine.pinned import PinnedFiles
from search.engine.staging import Sizes, Staging
from search.engine.views import ParameterView, contiguous
from search.engine.writer import DirectWriter
from search.merging.arithmetic import combine
from search.merging.methods import ties
from search.merging.mix import Mix, Term, linear
from tests.search.engine.checkpoints import checkpoints

TERMS = (Term("task/0", 0.4), Term("lang/0", 0.7))
MIXES = {
    "copy": linear([("lang/0", 1.0)]),
    "average": linear([("task/0", 0.5), ("lang/0", 0.5)]),
    "soup": linear([("base", 0.2), ("task/0", 0.5), ("lang/0", 0.3)]),
    "task arithmetic": Mix("task_arithmetic", TERMS),
    "TIES": Mix("ties", TERMS, density=0.3),
    "untrimmed TIES": Mix("ties", TERMS),
    "DARE": Mix("dare_linear", TERMS, density=0.4, seed=3),
    "SLERP": Mix("slerp", TERMS, base=""),
}
SHAPES = {"embed": (90, 40), "out": (40, 60), "norm": (40,), "odd": (7, 11)}
HERE = HostLink()
SMALL = Sizes(slot=4096, block=300)


class Sharded(torch.nn.Module):
    """What one of two ranks holds: rows, columns, a fused and a transposed parameter."""

    def __init__(self) -> None:
        super().__init__()
        shapes = {"rows": (45, 40), "columns": (40, 30), "both": (52, 40), "turned": (11, 7)}
        for name, shape in shapes.items():
            weight = torch.full(shape, 9.0, dtype=torch.bfloat16)
            self.register_parameter(name, torch.nn.Parameter(weight, requires_grad=False))


def destination(module: torch.nn.Module) -> Destination:
    copies = [
        Copy("embed", contiguous((45, 40), 45 * 40), "rows", contiguous((45, 40))),
        Copy("out", ParameterView((40, 30), (60, 1), 30), "columns", contiguous((40, 30))),
        Copy("embed", contiguous((45, 40), 45 * 40), "both", contiguous((45, 40), 7 * 40)),
        Copy("norm", contiguous((40,)), "both", contiguous((40,))),
        Copy("odd", ParameterView((11, 7), (1, 11), 0), "turned", contiguous((11, 7))),
    ]
    return Destination(module, copies, {})


def staged(
    sources: Mapping[str, Checkpoint],
    sizes: Sizes = SMALL,
    device_bytes: int = 0,
    pinned: PinnedFiles | None = None,
    link: Link = HERE,
) -> DeviceWriter:
    """A writer for a device that is host memory."""
    experts = ExpertTensors(sources, link.device, device_bytes, pinned)
    base = sources["base"]
    shapes = {n: (info.shape, base.read(n).dtype) for n, info in base.tensors.items()}
    return DeviceWriter(Staging(experts, link, 2, sizes), shapes)


def written(
    writer: Any, mixes: Mapping[str, Mix], device: str = "cpu"
) -> Mapping[str, torch.Tensor]:
    module = Sharded().to(device)
    writer.write([destination(module)], mixes)
    writer.finish()
    return dict(module.cpu().named_parameters())


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    return checkpoints(tmp_path_factory.mktemp("small"), SHAPES)


@pytest.mark.parametrize("tier", ["mapped", "pinned", "device", "crowded device"])
@pytest.mark.parametrize("name", MIXES)
def test_pieces_are_the_whole(
    sources: dict[str, Checkpoint], name: str, tier: str, tmp_path: Path
) -> None:
    """Slices of rows and columns, whatever the tier and how often it has been used."""
    pinned = PinnedFiles(10**6, HostLink(), folder=tmp_path) if tier == "pinned" else None
    budget = {"device": 10**6, "crowded device": 20_000}.get(tier, 0)
    writer = staged(sources, device_bytes=budget, pinned=pinned)
    mixes = dict.fromkeys(SHAPES, MIXES[name])
    host = DirectWriter(ExpertTensors(sources, torch.device("cpu")))
    expected = written(host, mixes)
    if name != "SLERP":
        assert same(written(writer, mixes), expected)
        assert same(written(writer, mixes), expected)
    else:  # sums of blocks differ in the 16th digit
        for key, value in written(writer, mixes).items():
            torch.testing.assert_close(value, expected[key])
    writer.close()
    assert not list(tmp_path.glob("*.weights"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.parametrize("tier", ["mapped", "pinned", "device"])
def test_a_gpu_merges_the_same_bits(
    sources: dict[str, Checkpoint], tier: str, tmp_path: Path
) -> None:
    link, device = CudaLink(torch.device("cuda")), torch.device("cpu")
    pinned = PinnedFiles(10**6, link, folder=tmp_path) if tier == "pinned" else None
    writer = staged(sources, SMALL, 10**6 if tier == "device" else 0, pinned, link)
    host = DirectWriter(ExpertTensors(sources, device))
    for _ in range(2):
        for name in MIXES.keys() - {"SLERP"}:
            mixes = dict.fromkeys(SHAPES, MIXES[name])
            assert writer.non_finite([destination(Sharded().to("cuda"))], mixes) == []
            assert same(written(writer, mixes, "cuda"), written(host, mixes)), name
    writer.close()


def test_recipes_follow_one_another(sources: dict[str, Checkpoint]) -> None:
    """Slices and wholes of one tensor side by side in a tier that has room for some."""
    writer = staged(sources, device_bytes=30_000)
    host = DirectWriter(ExpertTensors(sources, torch.device("cpu")))
    for first in ("average", "TIES", "copy", "DARE", "TIES", "average"):
        for second in ("copy", "task arithmetic", "untrimmed TIES"):
            mixes = {n: MIXES[first if n in ("embed", "norm") else second] for n in SHAPES}
            assert same(written(writer, mixes), written(host, mixes)), (first, second)


@pytest.mark.parametrize("name", MIXES)
def test_a_tensor_by_itself(sources: dict[str, Checkpoint], name: str) -> None:
    mix = MIXES[name]
    found = staged(sources, Sizes()).merged(mix, "out")
    assert torch.equal(found, combine(mix, {s: sources[s].read("out") for s in mix.sources}, "out"))


@pytest.mark.parametrize("budget", [0, 10**6])
def test_what_this_rank_uses_is_looked_at(
    tmp_path: Path, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = checkpoints(tmp_path, SHAPES)
    read = Checkpoint.read

    def spoils(checkpoint: Checkpoint, name: str) -> torch.Tensor:
        tensor = read(checkpoint, name)
        if name == "out" and checkpoint is bad["lang/0"]:
            tensor = tensor.clone()
            tensor[3, 10] = float("nan")
        if name == "embed" and checkpoint is bad["base"]:
            tensor = tensor.clone()
            tensor[-1, -1] = float("inf")
        return tensor

    monkeypatch.setattr(Checkpoint, "read", spoils)
    writer, place = staged(bad, device_bytes=budget), destination(Sharded())
    mixes = dict.fromkeys(SHAPES, MIXES["average"])
    assert writer.non_finite([place], mixes) == []  # it is in the other rank's columns
    for whole in ("TIES", "DARE"):
        mixes = dict.fromkeys(SHAPES, MIXES[whole])
        assert set(writer.non_finite([place], mixes)) == {("lang/0", "out"), ("base", "embed")}
    mixes = dict.fromkeys(SHAPES, MIXES["task arithmetic"])
    assert writer.non_finite([place], mixes) == [("base", "embed")]
    assert writer.non_finite([], mixes) == [("base", "embed"), ("lang/0", "out")]


def test_a_failure_is_told_and_the_next_rewrite_is_whole(
    sources: dict[str, Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had arrived in part is not taken for the whole."""
    writer = staged(sources, device_bytes=10**6)
    mixes, calls = dict.fromkeys(SHAPES, MIXES["average"]), iter(range(5))
    mapped = ExpertTensors.mapped

    def breaks(experts: ExpertTensors, source: str, name: str) -> torch.Tensor:
        if next(calls, None) is None:
            raise OSError("the disk is gone")
        return mapped(experts, source, name)

    with monkeypatch.context() as patch:
        patch.setattr(ExpertTensors, "mapped", breaks)
        with pytest.raises(OSError, match="the disk is gone"):
            written(writer, mixes)
    host = DirectWriter(ExpertTensors(sources, torch.device("cpu")))
    assert same(written(writer, mixes), written(host, mixes))


class Allocations(TorchDispatchMode):
    """Counts the bytes of storages that operations make, and the most there were at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known = set[int]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {_storage(t) for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            if _storage(tensor) in before or storage._cdata in self._known:
                continue
            self._known.add(storage._cdata)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        return result

    def _freed(self, which: int, size: int) -> None:
        self._known.discard(which)
        self.now -= size


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    """Embeddings of 20 MiB."""
    return checkpoints(tmp_path_factory.mktemp("large"), {"embed": (17000, 640)})


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MIXES, "TIES elsewhere"])
def test_memory_beside_the_model_is_bounded(
    large: dict[str, Checkpoint], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All sizes are a 32nd of the real ones, but for histograms of 2^16 numbers."""
    if name == "TIES elsewhere":
        monkeypatch.setattr(ties, "is_here", lambda tensor: False)
    mix = MIXES[name.removesuffix(" elsewhere")]
    mapped = {checkpoint.path: checkpoint.read("embed") for checkpoint in large.values()}
    monkeypatch.setattr(Checkpoint, "read", lambda checkpoint, _: mapped[checkpoint.path])
    real = Sizes()
    sizes = Sizes(slot=real.slot // 32, block=real.block // 32, working=real.working // 32)
    bound = sizes.device_slots * sizes.slot + sizes.working + real.histograms
    module = torch.nn.Module()
    weight = torch.empty(17000, 640, dtype=torch.bfloat16)
    module.embed = torch.nn.Parameter(weight, requires_grad=False)
    whole = contiguous((17000, 640))
    place = Destination(module, [Copy("embed", whole, "embed", whole)], {})
    with Allocations() as counted:
        writer = staged(large, sizes)
        rings = counted.now
        assert writer.non_finite([place], {"embed": mix}) == []
        writer.write([place], {"embed": mix})
    assert rings >= sizes.device_slots * sizes.slot  # they are counted
    peak = counted.peak - sizes.host_slots * sizes.slot  # that ring is not on the device
    assert peak <= bound < weight.numel() * weight.element_size()
    assert real.on_device <= 512 * 2**20


def test_memory_is_counted() -> None:
    with Allocations() as counted:
        kept = torch.zeros(1000, dtype=torch.uint8)
        view = kept[10:].view(-1)
        assert counted.now == 1000
        del view
        other = kept + 1
        assert (counted.now, counted.peak) == (2000, 2000)
        del other
        assert counted.now == 1000
        kept = kept.float()
        assert (counted.now, counted.peak) == (4000, 5000)
