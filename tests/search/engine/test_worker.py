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
from search.engine.worker import MaterialiseExtension, new_expert_kernels
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
    """The part of vLLM's model that the worker watches."""

    def compute_logits(self) -> torch.Tensor:
        return torch.zeros(1)


class Runner:
    """The part of vLLM's model runner that the worker uses; keeps what it is given."""

    def __init__(self) -> None:
        self.model, self.got = Model(), dict[str, torch.Tensor]()

    def get_model(self) -> Model:
        return self.model

    def reload_weights(self, weights_iterator: Iterable[tuple[str, torch.Tensor]]) -> None:
        self.got = dict(weights_iterator)


def write(family: Any, recipe: Recipe) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """A worker's answer to all tensors of a recipe, and what it handed over."""
    worker = MaterialiseExtension()
    worker.model_runner = Runner()
    worker.swap_open(family.paths, tied_head=False)
    merged = family.plan(recipe)
    jobs = json.loads(json.dumps([(name, mix.plain()) for name, mix in merged.items()]))
    return worker.swap_write(jobs), worker.model_runner.got


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
def test_worker_equals_export(tiny_llama: Family, tmp_path: Path, recipe: Recipe) -> None:
    _equals_export(fit(tiny_llama.sources("te")), recipe, tmp_path)


RECIPES = [
    Single("task/1"),
    LayerSwap(1, 1, 2, 1, 1, 0, 0.4, 0.6),
    LayerSwap(1, 1, 2, 1, 0, 0, non_layer="lang"),
    Soup(("task/0", "task/1", "lang/0"), (1.0, 1.0, 1.0)),
    TaskArithmetic(("task/1",), (0.5,)),
    Ties(("task/1", "lang/1"), 0.3, (1.0, 1.0)),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: type(recipe).__name__)
def test_experts_that_are_cast_cut_and_know_tokens_of_their_own(
    demo_family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe
) -> None:
    """Engine and export write the same bits, of the base's shapes; a token's row is its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sources = {k: v for k, v in demo_family.sources("te").items() if k[-1] in "01e"}
    own = sources["task/1"] = apart(Path(sources["task/1"]), tmp_path / "apart")
    family = fit(sources)
    assert {row: set(who) for row, who in family.rows.known.items()} == {274: {"task/1"}}
    merged = _equals_export(family, recipe, tmp_path)
    tensors = load_file(own / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert merged[name].shape == family.base.tensors[name].shape
        assert torch.equal(merged[name][274], tensors[name][274].bfloat16())
        others = torch.cat([merged[name][:274], merged[name][275:]])
        assert not (others == 3.0).any() and not (others == 7.0).any()


def _equals_export(family: FittedFamily, recipe: Recipe, tmp_path: Path) -> dict[str, torch.Tensor]:
    answer, got = write(family, recipe)
    write_export(family.plan(recipe), family.sources, family.base, tmp_path / "out")
    written = Checkpoint.open(tmp_path / "out")
    assert set(got) == set(family.names)
    assert all(torch.equal(got[name], written.read(name)) for name in family.names)
    size = sum(tensor.numel() * tensor.element_size() for tensor in got.values())
    assert answer == {"non_finite": [], "bytes": size}
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
    answer, got = write(fit(sources, check_finite=False), TaskArithmetic(PAIR, (0.5, 0.7)))
    assert answer == {"non_finite": [("base", name)], "bytes": 0}
    assert got == {}


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
