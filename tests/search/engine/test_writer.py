"""Merges written into a model's parameters: the same bits as a merge on its own, then loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from search.checkpoints.checkpoint import Checkpoint
from search.engine.experts import ExpertTensors
from search.engine.layout import Copy, Destination
from search.engine.views import ParameterView
from search.engine.writer import DirectWriter
from search.merging.arithmetic import combine
from search.merging.mix import Mix, Term, linear
from tests.search.engine.modules import WIDTH, Fused, UnquantizedLinearMethod, noise

SOURCES = ("base", "task/0", "lang/0")
HALF = linear([("task/0", 0.5), ("lang/0", 0.5)])
COPY = linear([("lang/0", 1.0)])
TIES = Mix("ties", (Term("task/0", 1.0), Term("lang/0", 1.0)), density=0.5)
VECTORS = Mix("task_arithmetic", (Term("task/0", 0.3), Term("lang/0", 0.9)))
ROWS = HALF._replace(rows=((0, "task/0"), (3, "base")))  # of which a part holds one
MIXES = [HALF, COPY, TIES, VECTORS, ROWS]


@pytest.fixture
def experts(tmp_path: Path) -> ExpertTensors:
    """Three checkpoints of two tensors."""
    for seed, source in enumerate(SOURCES):
        folder = tmp_path / source.replace("/", "-")
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"num_hidden_layers": 1}))
        tensors = {part: noise(4, WIDTH, seed=10 * seed + i) for i, part in enumerate("qk")}
        save_file(tensors, folder / "model.safetensors")
    opened = {s: Checkpoint.open(tmp_path / s.replace("/", "-")) for s in SOURCES}
    return ExpertTensors(opened, torch.device("cpu"))


def merged(experts: ExpertTensors, mix: Mix, name: str) -> torch.Tensor:
    return combine(mix, {s: experts.mapped(s, name) for s in mix.sources}, name)


def rows(first: int, count: int) -> ParameterView:
    return ParameterView((count, WIDTH), (WIDTH, 1), first * WIDTH)


COPIES = (
    Copy("q", rows(0, 4), "weight", rows(0, 4)),
    Copy("k", rows(2, 2), "weight", rows(4, 2)),
)
"""What `Fused` makes of its two tensors."""


def fused(packed: bool) -> tuple[Fused, Destination]:
    """The module, loaded with zeros, and its place."""
    module = Fused()
    shape, dtype = module.weight.shape, module.weight.dtype
    if packed:
        method = UnquantizedLinearMethod()
        module.quant_method = method  # type: ignore[assignment]
        method.process_weights_after_loading(module)
    return module, Destination(module, COPIES, {"weight": (shape, dtype)} if packed else {})


def held(module: nn.Module) -> torch.Tensor:
    """What the module computes with."""
    compute: Any = getattr(module, "cpu_linear", None)
    if compute is not None:
        weight = compute(torch.eye(WIDTH, dtype=torch.bfloat16), None, None).T
    else:
        weight = module.weight
    assert isinstance(weight, torch.Tensor)
    return weight.detach()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("q", MIXES, ids=lambda mix: mix.method)
@pytest.mark.parametrize("k", MIXES, ids=lambda mix: mix.method)
def test_written_is_merged_and_loaded(experts: ExpertTensors, q: Mix, k: Mix, packed: bool) -> None:
    """Also where a merge is not elementwise: then the whole tensor is merged, its part written."""
    module, place = fused(packed)
    kept = module.weight
    DirectWriter(experts).write([place], {"q": q, "k": k})
    loaded = Fused()
    loaded.load("q", merged(experts, q, "q"))
    loaded.load("k", merged(experts, k, "k"))
    assert torch.equal(held(module), loaded.weight)
    assert module.weight is kept  # graphs and vLLM's own tables hold on to it


def test_nothing_of_the_merge_before_is_left(experts: ExpertTensors) -> None:
    """Always from the experts as they are: in whatever order, the same bits."""
    mixes: list[Mapping[str, Mix]] = [{"q": mix, "k": HALF} for mix in MIXES]
    (one, place), (other, again) = fused(True), fused(True)
    writer = DirectWriter(experts)
    for each in mixes:
        writer.write([place], each)
    DirectWriter(experts).write([again], mixes[-1])
    assert torch.equal(held(one), held(other))


def test_modules_share_a_buffer_and_not_their_weights(experts: ExpertTensors) -> None:
    (one, first), (other, second) = fused(True), fused(True)
    copies = (Copy("q", rows(0, 4), "weight", rows(0, 4)),)
    small = Fused()
    small.weight = nn.Parameter(torch.zeros(4, WIDTH, dtype=torch.bfloat16), requires_grad=False)
    method = UnquantizedLinearMethod()
    small.quant_method = method  # type: ignore[assignment]
    method.process_weights_after_loading(small)
    third = Destination(small, copies, {"weight": (torch.Size([4, WIDTH]), torch.bfloat16)})
    DirectWriter(experts).write([first, third, second], {"q": HALF, "k": COPY})
    assert torch.equal(held(one), held(other))
    assert torch.equal(held(one)[:4], merged(experts, HALF, "q"))
    assert torch.equal(held(small), merged(experts, HALF, "q"))


def test_the_experts_are_not_written_into(experts: ExpertTensors) -> None:
    """Packing gets a source's own memory-mapped tensor where that is the whole weight."""
    before = {(s, n): experts.mapped(s, n).clone() for s in SOURCES for n in "qk"}
    copies = (Copy("q", rows(0, 4), "weight", rows(0, 4)),)
    seen: list[torch.Tensor] = []

    class Sees(UnquantizedLinearMethod):
        def process_weights_after_loading(self, layer: nn.Module) -> None:
            assert isinstance(layer.weight, torch.Tensor)
            seen.append(layer.weight.detach())

    module = Fused()
    module.quant_method = Sees()  # type: ignore[assignment]
    place = Destination(module, copies, {"weight": (torch.Size([4, WIDTH]), torch.bfloat16)})
    for mix in MIXES:
        DirectWriter(experts).write([place], {"q": mix})
    assert seen[1].data_ptr() == experts.mapped("lang/0", "q").data_ptr()  # the copy
    for (source, name), tensor in before.items():
        assert torch.equal(experts.mapped(source, name), tensor)


def test_a_failure_leaves_the_module_its_own_parameter(experts: ExpertTensors) -> None:
    """What it holds then is written anew by a rebuilt engine; no buffer is left in its place."""

    class Fails(UnquantizedLinearMethod):
        def process_weights_after_loading(self, layer: nn.Module) -> None:
            raise RuntimeError("no memory")

    module, place = fused(True)
    module.quant_method = Fails()  # type: ignore[assignment]
    kept = module.weight
    with pytest.raises(RuntimeError, match="no memory"):
        DirectWriter(experts).write([place], {"q": HALF, "k": COPY})
    assert module.weight is kept and kept.numel() == 0


def test_a_parameter_of_another_dtype_is_rounded_as_the_checkpoint(
    experts: ExpertTensors,
) -> None:
    """Searching in float32 scores what an export in bf16 is."""
    module, place = fused(False)
    module.weight = nn.Parameter(torch.zeros(6, WIDTH), requires_grad=False)
    DirectWriter(experts).write([place], {"q": HALF, "k": VECTORS})
    assert torch.equal(module.weight[:4], merged(experts, HALF, "q").float())
    assert torch.equal(module.weight[4:], merged(experts, VECTORS, "k")[2:].float())
