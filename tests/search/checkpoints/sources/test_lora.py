"""LoRA adapters: the merge against the formula and PEFT, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import Family, fit
from search.common.errors import CheckpointError, ExpertMismatchError
from tests.search.checkpoints.adapters import (
    DOWN,
    EMBED,
    HEAD,
    NORM,
    PREFIX,
    Q,
    Tensors,
    merge,
    pair,
    write_adapter,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def formula(base: Checkpoint, module: str, tensors: Tensors, scale: float) -> torch.Tensor:
    a, b = (tensors[f"{PREFIX}{module}.lora_{part}.weight"].double() for part in "AB")
    return (base.read(f"{module}.weight").double() + scale * (b @ a)).to(torch.bfloat16)


@pytest.mark.parametrize(
    ("config", "rank", "scales"),
    [
        ({}, 4, (2.0, 2.0, 2.0)),
        ({"lora_alpha": 3}, 4, (0.75,) * 3),
        ({"use_rslora": True}, 4, (4.0,) * 3),
        ({"rank_pattern": {"q_proj": 2, "down_proj": 2}}, 2, (4.0,) * 3),
        ({"alpha_pattern": {"down_proj": 4}}, 4, (2.0, 2.0, 1.0)),
        ({"alpha_pattern": {r"1\.self_attn\.q_proj$": 4, "q_proj": 16}}, 4, (4.0, 1.0, 2.0)),
        ({"alpha_pattern": {"^model.layers.0.self_attn.q_proj": 4}}, 4, (1.0, 2.0, 2.0)),
        ({"init_lora_weights": "gaussian", "lora_dropout": 0.1}, 4, (2.0,) * 3),
    ],
)
def test_merge_is_the_formula(
    tiny_llama: Family, tmp_path: Path, config: dict[str, Any], rank: int, scales: tuple[float, ...]
) -> None:
    """W + alpha / r B A, in the base's dtype; all other tensors are the base's."""
    modules = {Q(0): (64, 64), Q(1): (64, 64), DOWN(2): (64, 96)}
    tensors: Tensors = {}
    for seed, (module, shape) in enumerate(modules.items()):
        tensors |= pair(module, *shape, rank, seed)
    family = merge(tiny_llama, write_adapter(tmp_path / "lora", tensors, **config))
    base, merged = family.base, family.sources["task/0"]
    expected = {
        f"{module}.weight": formula(base, module, tensors, scale)
        for module, scale in zip(modules, scales, strict=True)
    }
    for name in family.names:
        if name in expected:
            assert not torch.equal(merged.read(name), base.read(name))
            # float32 and float64 may round to neighbouring bf16 values, 2^-8 apart.
            torch.testing.assert_close(merged.read(name), expected[name], rtol=2**-8, atol=1e-6)
        else:
            assert torch.equal(merged.read(name), base.read(name))


def test_another_rank_than_the_configuration_says(tiny_llama: Family, tmp_path: Path) -> None:
    """PEFT divides by the one there: which of the two was trained, nobody knows."""
    adapter = write_adapter(tmp_path / "lora", pair(Q(0), 64, 64), r=16)
    with pytest.raises(CheckpointError, match=r"says rank 16 \(r, rank_pattern\) of .* have 4"):
        merge(tiny_llama, adapter)


def test_float32_arithmetic_rounded_once(tiny_llama: Family, tmp_path: Path) -> None:
    """Adding a delta already rounded to bf16, as a merge in the base's dtype does, would differ."""
    tensors = pair(Q(0), 64, 64)
    family = merge(tiny_llama, write_adapter(tmp_path / "lora", tensors))
    a, b = (tensors[f"{PREFIX}{Q(0)}.lora_{part}.weight"] for part in "AB")
    weight = family.base.read(f"{Q(0)}.weight")
    merged = family.sources["task/0"].read(f"{Q(0)}.weight")
    assert torch.equal(merged, (weight.float() + 2.0 * (b @ a)).bfloat16())
    assert not torch.equal(merged, weight + (2.0 * (b @ a)).bfloat16())


def test_embeddings_and_weights_held_whole(tiny_llama: Family, tmp_path: Path) -> None:
    base = Checkpoint.open(tiny_llama.base)
    a, b = torch.randn(4, 258) * 0.1, torch.randn(64, 4) * 0.1
    own = {
        f"{PREFIX}{EMBED}.lora_embedding_A": a,
        f"{PREFIX}{EMBED}.lora_embedding_B": b,
        f"{PREFIX}{EMBED}.base_layer.weight": base.read(f"{EMBED}.weight").clone(),
        f"{PREFIX}{HEAD}.weight": torch.randn(258, 64),  # modules_to_save
        f"{PREFIX}{NORM}.weight": torch.randn(64),
    }
    adapter = write_adapter(tmp_path / "lora", own, modules_to_save=["lm_head", "norm"])
    merged = merge(tiny_llama, adapter).sources["task/0"]
    for module in (HEAD, NORM):
        expected = own[f"{PREFIX}{module}.weight"].bfloat16()
        assert torch.equal(merged.read(f"{module}.weight"), expected)
    expected = (base.read(f"{EMBED}.weight").float() + 2.0 * (b @ a).T).bfloat16()
    assert torch.equal(merged.read(f"{EMBED}.weight"), expected)


def test_bias(tiny_qwen2: Family, tmp_path: Path) -> None:
    bias = torch.randn(64)
    tensors = pair(Q(0), 64, 64) | {f"{PREFIX}{Q(0)}.base_layer.bias": bias}
    family = merge(tiny_qwen2, write_adapter(tmp_path / "lora", tensors, bias="lora_only"))
    assert torch.equal(family.sources["task/0"].read(f"{Q(0)}.bias"), bias.bfloat16())


def test_fan_in_fan_out(tiny_llama: Family, tmp_path: Path) -> None:
    """GPT-2 stores (columns, rows); here a layer that happens to have the transposed shape."""
    tensors = pair(DOWN(0), 96, 64)
    adapter = write_adapter(tmp_path / "lora", tensors, fan_in_fan_out=True)
    family = merge(tiny_llama, adapter)
    a, b = (tensors[f"{PREFIX}{DOWN(0)}.lora_{part}.weight"] for part in "AB")
    expected = (family.base.read(f"{DOWN(0)}.weight").float() + 2.0 * (b @ a).T).bfloat16()
    assert torch.equal(family.sources["task/0"].read(f"{DOWN(0)}.weight"), expected)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"use_dora": True},
            r"use_dora = True: .* more than base .* merge it with PEFT's merge_and",
        ),
        ({"peft_type": "IA3"}, r"peft_type = 'IA3'"),
        ({"init_lora_weights": "pissa_niter_4"}, r"'pissa_niter_4', which changes the base"),
        ({"lora_bias": True, "layer_replication": [[0, 1]]}, r"layer_replication = .*; lora_bias"),
        ({"a_future_variant": {"x": 1}}, r"a_future_variant = \{'x': 1\}"),
    ],
)
def test_refused_variants(
    tiny_llama: Family, tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    adapter = write_adapter(tmp_path / "lora", pair(Q(0), 64, 64), **config)
    with pytest.raises(CheckpointError, match=message):
        merge(tiny_llama, adapter)


def _half(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if "lora_A" in name}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (pair(Q(9), 64, 64), r"no model.layers.9.self_attn.q_proj.weight there"),
        (pair(Q(0), 128, 64), r"q_proj.weight 128x64 \(base: 64x64\)"),
        (_half(pair(Q(0), 64, 64)), r"A 4x64 and B missing are no pair"),
        ({f"{PREFIX}{Q(0)}.lora_magnitude_vector": torch.ones(64)}, r"lora_magnitude_vector there"),
        ({f"{PREFIX}{EMBED}.weight": torch.ones(258, 32)}, r"258x32 \(base: 258x64\)"),
        (pair(HEAD, 300, 64), r"300x64 \(base: 258x64\)"),
        ({}, r"holds no LoRA matrices"),
    ],
)
def test_adapter_of_another_base(
    tiny_llama: Family, tmp_path: Path, tensors: Tensors, message: str
) -> None:
    adapter = write_adapter(tmp_path / "lora", tensors, base_model_name_or_path="org/other")
    message = rf"task/0 .*does not fit this base \(it was made for org/other\): .*{message}"
    with pytest.raises(ExpertMismatchError, match=message):
        merge(tiny_llama, adapter)


def test_head_of_a_tied_base(tiny_qwen2: Family, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "lora", pair(HEAD, 258, 64))
    message = r"LoRA matrices on lm_head.weight, and in the base the head is tied to the embed"
    with pytest.raises(ExpertMismatchError, match=message):
        merge(tiny_qwen2, adapter)


def test_adapter_cannot_be_the_base(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "lora", pair(Q(0), 64, 64))
    with pytest.raises(CheckpointError, match=r"base: .*is a LoRA adapter, and there is no base"):
        fit({"base": adapter})


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.bool])
@pytest.mark.parametrize("pickled", [False, True])
def test_matrices_that_are_no_floats(
    tiny_llama: Family, tmp_path: Path, kind: torch.dtype, pickled: bool
) -> None:
    """Whatever scales quantised matrices have, they are not in the file."""
    tensors = {name: tensor.to(kind) for name, tensor in pair(Q(0), 64, 64).items()}
    adapter = write_adapter(tmp_path / "quantised", tensors)
    if pickled:
        (adapter / "adapter_model.safetensors").unlink()
        torch.save(tensors, adapter / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=r"2 tensors that are no floats .*lora_A"):
        fit({"base": tiny_llama.base, "task/0": adapter}, allow_bin=True)


def test_truncated_adapter(tiny_llama: Family, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "lora", pair(Q(0), 64, 64))
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"adapter_model.safetensors is missing or truncated"):
        merge(tiny_llama, adapter)


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        ({"modules_to_save": ["lm_head"]}, "lm_head.weight"),
        ({"modules_to_save": ["embed_tokens", "norm"]}, "model.embed_tokens.weight"),
        ({"modules_to_save": ["1.mlp"]}, "model.layers.1.mlp.down_proj.weight, .*gate_proj"),
        ({"modules_to_save": ["model.norm"], "bias": "all"}, "model.norm.weight"),
    ],
)
def test_what_was_trained_whole_is_missing(
    tiny_llama: Family, tmp_path: Path, config: dict[str, Any], missing: str
) -> None:
    """PEFT loads such an adapter with a warning: the base's weight where a trained one belongs."""
    tensors = pair(Q(0), 64, 64) | {f"{PREFIX}{NORM}.weight": torch.ones(64)}
    if "model.norm" in config.get("modules_to_save", ()):
        del tensors[f"{PREFIX}{NORM}.weight"]
    message = rf"task/0 .*lacks {missing}.*modules_to_save or bias say was trained"
    with pytest.raises(ExpertMismatchError, match=message):
        merge(tiny_llama, write_adapter(tmp_path / "lora", tensors, **config))


@pytest.mark.parametrize(
    ("bias", "held", "missing"),
    [
        ("lora_only", (), "model.layers.0.self_attn.q_proj.bias"),
        ("all", (0,), r"model.layers.0.self_attn.k_proj.bias, .* \(\d+ more\)"),
    ],
)
def test_biases_that_were_trained_are_missing(
    tiny_qwen2: Family, tmp_path: Path, bias: str, held: tuple[int, ...], missing: str
) -> None:
    tensors = pair(Q(0), 64, 64)
    tensors |= {f"{PREFIX}{Q(layer)}.base_layer.bias": torch.ones(64) for layer in held}
    with pytest.raises(ExpertMismatchError, match=f"lacks {missing}"):
        merge(tiny_qwen2, write_adapter(tmp_path / "lora", tensors, bias=bias))


@pytest.mark.parametrize("module", ["lm_head", "embed_tokens"])
def test_head_of_a_tied_base_is_missing(tiny_qwen2: Family, tmp_path: Path, module: str) -> None:
    adapter = write_adapter(tmp_path / "lora", pair(Q(0), 64, 64), modules_to_save=[module])
    with pytest.raises(ExpertMismatchError, match=rf"lacks .*{module}.weight"):
        merge(tiny_qwen2, adapter)
