"""What a worker hands to vLLM is what an export writes, for every method."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import Family, FittedFamily, fit
from search.engine import worker as worker_module
from search.engine.link import HostLink
from search.engine.worker import (
    MaterialiseExtension,
    new_expert_kernels,
    refresh_convolutions,
    refresh_sinks,
)
from search.export.writer import write_export
from search.merging.recipe import (
    DareLinear,
    LayerSwap,
    Recipe,
    Single,
    Slerp,
    Soup,
    TaskArithmetic,
    Ties,
)
from tests.families import apart

PAIR = ("task/0", "lang/1")


class Model(torch.nn.Module):
    """The part of vLLM's model that the worker watches, on a CPU or another device."""

    def __init__(self, device: str = "cpu") -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(1, device=device), requires_grad=False)

    def compute_logits(self) -> torch.Tensor:
        return torch.zeros(1)


class Runner:
    """The part of vLLM's model runner that the worker uses."""

    def __init__(self) -> None:
        self.model: torch.nn.Module = Model()

    def get_model(self) -> torch.nn.Module:
        return self.model


class Worker(MaterialiseExtension):
    """The part of vLLM's worker that the extension is mixed into; keeps what it is given."""

    def __init__(self) -> None:
        self.model_runner, self.got = Runner(), dict[str, torch.Tensor]()

    def reload_weights(self, weights_iterator: Iterable[tuple[str, torch.Tensor]]) -> None:
        self.got = dict(weights_iterator)


def opened(family: FittedFamily, recipe: Recipe, device: str = "cpu") -> tuple[Worker, Any]:
    """A worker and all the jobs of a recipe, as they come from another process."""
    worker = Worker()
    worker.model_runner.model = Model(device)
    worker.swap_open(family.paths, tied_head=False)
    merged = family.plan(recipe)
    return worker, json.loads(json.dumps([(name, mix.plain()) for name, mix in merged.items()]))


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    "recipe",
    [
        Single("task/1"),
        LayerSwap((0, 1), 1, 1, 1, 2, 0, non_layer="base", ramp="linear"),
        Soup(("task/0", "task/1", "lang/0"), (1.0, 1.0, 1.0)),
        TaskArithmetic(PAIR, (0.5, 0.7)),
        Ties(PAIR, 0.3, (1.0, 1.0)),
        DareLinear(PAIR, 0.5, (0.5, 0.5)),
        Slerp(0, 1, (0.2, 0.6)),
    ],
    ids=lambda recipe: type(recipe).__name__,
)
def test_worker_equals_export(
    tiny_llama: Family,
    tmp_path: Path,
    recipe: Recipe,
    device: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a GPU as well, for which host memory stands here."""
    monkeypatch.setattr(worker_module, "CudaLink", lambda device: HostLink())
    _equals_export(fit(tiny_llama.sources("te")), recipe, tmp_path, device)


RECIPES = [
    Single("task/1"),
    LayerSwap(1, 1, 2, 1, 1, 0, 0.4, 0.6),
    LayerSwap(1, 1, 2, 1, 0, 0, non_layer="lang"),
    Soup(("task/0", "task/1", "lang/0"), (1.0, 1.0, 1.0)),
    TaskArithmetic(("task/1",), (0.5,)),
    Ties(("task/1", "lang/1"), 0.3, (1.0, 1.0)),
]


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: type(recipe).__name__)
def test_experts_that_are_cast_cut_and_know_tokens_of_their_own(
    demo_family: Family,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe: Recipe,
    device: str,
) -> None:
    """Engine and export write the same bits, of the base's shapes; a token's row is its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(worker_module, "CudaLink", lambda device: HostLink())
    sources = {k: v for k, v in demo_family.sources("te").items() if k[-1] in "01e"}
    own = sources["task/1"] = apart(Path(sources["task/1"]), tmp_path / "apart")
    family = fit(sources)
    assert {row: set(who) for row, who in family.rows.known.items()} == {274: {"task/1"}}
    merged = _equals_export(family, recipe, tmp_path, device)
    tensors = load_file(own / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert merged[name].shape == family.base.tensors[name].shape
        assert torch.equal(merged[name][274], tensors[name][274].bfloat16())
        others = torch.cat([merged[name][:274], merged[name][275:]])
        assert not (others == 3.0).any() and not (others == 7.0).any()


def _equals_export(
    family: FittedFamily, recipe: Recipe, tmp_path: Path, device: str
) -> dict[str, torch.Tensor]:
    worker, jobs = opened(family, recipe, device)
    assert worker.swap_non_finite(jobs) == []
    answer, got = worker.swap_write(jobs), worker.got
    worker.swap_close()
    write_export(family.plan(recipe), family.sources, family.base, tmp_path / "out")
    written = Checkpoint.open(tmp_path / "out")
    assert set(got) == set(family.names)
    assert all(torch.equal(got[name], written.read(name)) for name in family.names)
    size = sum(tensor.numel() * tensor.element_size() for tensor in got.values())
    assert answer == size
    return got


def test_nothing_is_written_if_the_base_of_a_task_vector_is_not_finite(
    tiny_llama: Family, tmp_path: Path
) -> None:
    sources, name = tiny_llama.sources("te"), "model.layers.1.mlp.up_proj.weight"
    shutil.copytree(sources["base"], tmp_path / "base")
    sources["base"] = tmp_path / "base"
    tensors = load_file(sources["base"] / "model.safetensors")
    tensors[name][0, 0] = float("nan")
    save_file(tensors, sources["base"] / "model.safetensors")
    worker, jobs = opened(fit(sources, check_finite=False), TaskArithmetic(PAIR, (0.5, 0.7)))
    for _ in range(2):
        assert worker.swap_non_finite(jobs) == [("base", name)]
    assert worker.got == {}


def test_closed_is_as_it_was(tiny_llama: Family) -> None:
    """Nothing of the extension keeps the model or the experts alive."""
    worker = Worker()
    before = worker.model_runner.model.compute_logits
    worker.swap_open(fit(tiny_llama.sources("te")).paths, tied_head=False)
    assert worker.model_runner.model.compute_logits != before
    worker.swap_close()
    assert worker.model_runner.model.compute_logits == before
    assert [name for name in vars(worker) if name.startswith("_swap")] == [
        "_swap_bytes",
        "_swap_tied_head",
        "_swap_bad_logits",
    ]


class Kernel:
    """An attention backend that keeps sinks in a dtype of its own."""

    def __init__(self, sinks: torch.Tensor) -> None:
        self.sinks = sinks


class Attends(torch.nn.Module):
    """A layer of a model with sinks, as vLLM's: the attention is a module inside."""

    def __init__(self, kept: torch.Tensor | None) -> None:
        super().__init__()
        self.sinks = torch.nn.Parameter(torch.arange(4.0).bfloat16(), requires_grad=False)
        self.attn = torch.nn.Module()
        self.attn.impl = Kernel(self.sinks if kept is None else kept)


def test_copies_of_sinks_are_written_again() -> None:
    """In place, for captured graphs; what shares the parameter's memory needs nothing."""
    kept = torch.zeros(4)
    model = torch.nn.Sequential(Attends(kept), Attends(None), torch.nn.Linear(2, 2))
    refresh_sinks(model)
    assert kept.tolist() == [0.0, 1.0, 2.0, 3.0]
    with pytest.raises(RuntimeError, match=r"sinks of shape \(3,\), the model has \(4,\)"):
        refresh_sinks(Attends(torch.zeros(3)))


class Convolves(torch.nn.Module):
    """A state-space layer, as vLLM's: a view of the convolution, which the kernel may pack."""

    def __init__(self, *, packed: bool) -> None:
        super().__init__()
        self.conv1d = torch.nn.Module()
        self.conv1d.weight = torch.nn.Parameter(torch.zeros(3, 1, 2), requires_grad=False)
        self.register_buffer("conv_weights", self.conv1d.weight.view(3, 2), persistent=False)
        written = torch.arange(6.0).view(3, 2)
        if packed:
            self.conv1d._cpu_unpacked_conv_weight = written
            self.conv1d.weight.data = written.T.contiguous().view(3, 1, 2)
        else:
            self.conv1d.weight.data.copy_(written.view(3, 1, 2))


@pytest.mark.parametrize("packed", [True, False])
def test_convolutions_that_are_kept_twice_are_written_again(packed: bool) -> None:
    layer = Convolves(packed=packed)
    kept = layer.conv_weights
    refresh_convolutions(torch.nn.Sequential(layer, torch.nn.Linear(2, 2)))
    assert layer.conv_weights is kept and kept.tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]


class Method:
    """How vLLM computes a mixture of experts: with a kernel that it makes if there is none."""

    moe_kernel: object = None


class Mixture(torch.nn.Linear):
    """A layer that vLLM packs for its kernel, on a device."""

    def __init__(self, device: str) -> None:
        super().__init__(2, 2, device=device)
        self.quant_method = Method()
        self.quant_method.moe_kernel = object()


@pytest.mark.parametrize("fails", [False, True])
def test_reloaded_experts_are_packed_anew(fails: bool) -> None:
    """And what was not reloaded keeps its kernel."""
    reloaded, left = Mixture("cpu"), Mixture("cpu")
    old, new = left.quant_method.moe_kernel, object()
    try:
        with new_expert_kernels(torch.nn.Sequential(reloaded, torch.nn.ReLU(), left)):
            assert reloaded.quant_method.moe_kernel is left.quant_method.moe_kernel is None
            reloaded.quant_method.moe_kernel = new
            if fails:
                raise RuntimeError("the disk is gone")
    except RuntimeError:
        assert fails
    assert reloaded.quant_method.moe_kernel is new
    assert left.quant_method.moe_kernel is old


def test_experts_elsewhere_keep_their_kernels() -> None:
    mixture = Mixture("meta")
    kernel = mixture.quant_method.moe_kernel
    with new_expert_kernels(torch.nn.Sequential(mixture)):
        assert mixture.quant_method.moe_kernel is kernel
