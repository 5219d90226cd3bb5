"""Every kind of LoRA that PEFT 0.21 writes: merged to the bits of its own merge, or refused.

PEFT merges into a float32 base, whose weights are then rounded to the base's dtype.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from search.checkpoints.family import Family, examine
from search.checkpoints.sources.adapter_config import KNOWN
from search.checkpoints.towers import renamed
from search.common.errors import CheckpointError
from tests.families import ARCHITECTURES, make_family, newer_names, text_alone
from tests.search.checkpoints.adapters import merge

Q = {"target_modules": ["q_proj"]}
TIED = {**Q, "ensure_weight_tying": True}
MERGED: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"target_modules": "all-linear"}),
    ("llama", {**Q, "lora_alpha": 9, "use_rslora": True}),
    ("llama", {"target_modules": ["q_proj", "o_proj"], "rank_pattern": {"q_proj": 2}}),
    ("llama", {"target_modules": "all-linear", "alpha_pattern": {"layers.1.self_attn.o_proj": 5}}),
    ("llama", {**Q, "layers_to_transform": [1, 3], "lora_dropout": 0.1}),
    ("llama", {**Q, "modules_to_save": ["lm_head"]}),
    ("llama", {**Q, "modules_to_save": ["embed_tokens", "norm"]}),
    ("llama", {"target_modules": ["embed_tokens", "lm_head"]}),
    ("llama", {"target_modules": ["embed_tokens"], "modules_to_save": ["lm_head"]}),
    ("llama", {**Q, "exclude_modules": [r"model.layers.0.self_attn.q_proj"]}),
    ("llama", {**Q, "init_lora_weights": "gaussian"}),
    ("llama", {**Q, "init_lora_weights": False}),
    ("llama", {**Q, "init_lora_weights": "eva"}),
    ("llama", {**Q, "init_lora_weights": "orthogonal"}),
    ("qwen2", Q),  # tied, with biases
    ("qwen2", {**Q, "bias": "lora_only"}),
    ("qwen2", {**Q, "bias": "all"}),
    ("qwen2", {**TIED, "modules_to_save": ["embed_tokens"]}),
    ("qwen2", {**TIED, "modules_to_save": ["lm_head"]}),
    ("gpt_neox", {"target_modules": ["query_key_value", "dense_h_to_4h"]}),
    ("gpt_neox", {"target_modules": ["lm_head"], "bias": "all"}),  # embed_out in its file
    ("gpt2", {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    ("gpt2", {"target_modules": ["c_attn", "c_fc"]}),  # PEFT finds out that they are transposed
]

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("llama", {**Q, "use_dora": True}, "use_dora = True"),
    ("qwen2", {**Q, "lora_bias": True}, "lora_bias = True"),
    ("llama", {**Q, "layer_replication": [(0, 2), (1, 4)]}, "layer_replication = "),
    ("llama", {**Q, "trainable_token_indices": [1, 2]}, "trainable_token_indices = "),
    ("llama", {**Q, "target_parameters": ["k_proj.weight"]}, "target_parameters = "),
    ("llama", {**Q, "init_lora_weights": "pissa"}, "init_lora_weights = 'pissa'"),
    ("llama", {**Q, "init_lora_weights": "pissa_niter_4"}, "init_lora_weights = 'pissa_niter_4'"),
    ("llama", {**Q, "init_lora_weights": "olora"}, "init_lora_weights = 'olora'"),
    ("llama", {**Q, "alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens = "),
    ("qwen2", {**Q, "modules_to_save": ["embed_tokens"]}, "a tied model cannot hold one without"),
    ("qwen2", {**Q, "modules_to_save": ["lm_head"]}, "a tied model cannot hold one without"),
    ("qwen2", {**Q, "modules_to_save": ["lm_head", "embed_tokens"]}, "a tied model cannot hold"),
    ("qwen2", {"target_modules": ["embed_tokens"]}, "LoRA matrices on model.embed_tokens.weight"),
    ("qwen2", {"target_modules": ["lm_head"]}, "LoRA matrices on lm_head.weight"),
    ("qwen2", {**TIED, "target_modules": ["embed_tokens"]}, "LoRA matrices on lm_head.weight, mo"),
]


@pytest.fixture(scope="module")
def bases(
    tiny_llama: Family, tiny_qwen2: Family, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Family]:
    place = tmp_path_factory.mktemp("bases")
    gpt2 = {"n_embd": 64, "n_head": 2, "n_layer": 2, "n_positions": 64}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "gpt2", gpt2)
        made = {
            name: make_family(place / name, name, n_layers=2, task=0, lang=0)
            for name in ("gpt_neox", "gpt2")
        }
    return {"llama": tiny_llama, "qwen2": tiny_qwen2, **made}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def lora(**settings: Any) -> Any:
    """PEFT's configuration of an adapter; PEFT takes seconds to load."""
    peft = pytest.importorskip("peft", reason="peft is a package for development: make install")
    return peft.LoraConfig(**settings)


def train(base: Path, folder: Path, settings: dict[str, Any]) -> Any:
    """An adapter with random weights, saved as PEFT does; the model that it is part of."""
    config = lora(r=4, **settings)
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    adapted = get_peft_model(model, config)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    adapted.save_pretrained(folder)
    return adapted


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "settings"), MERGED, ids=str)
@pytest.mark.filterwarnings("ignore")
def test_merged_as_peft_does(
    bases: dict[str, Family], tmp_path: Path, architecture: str, settings: dict[str, Any]
) -> None:
    base = bases[architecture]
    adapted = train(Path(base.base), tmp_path / "lora", settings)
    expected = adapted.merge_and_unload().state_dict()
    family = merge(base, tmp_path / "lora")
    plain, changed = family.base, 0
    for name in family.names:
        key = name.replace("embed_out", "lm_head")
        merged = family.sources["task/0"].read(name)
        assert torch.equal(merged, expected[key].bfloat16()), name
        changed += not torch.equal(merged, plain.read(name))
    assert changed  # an adapter that does nothing proves nothing


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One Gemma 3, multimodal by the names of two versions, and its text decoder alone."""
    place = tmp_path_factory.mktemp("gemma3")
    whole = Path(make_family(place, "gemma3", task=0, lang=0).base)
    newer, text = newer_names(whole, place / "newer"), text_alone(whole, place / "text")
    return {"whole": whole, "newer": newer, "text": text}


@pytest.mark.slow
@pytest.mark.parametrize("base", ["whole", "newer", "text"])
@pytest.mark.parametrize("trained", ["whole", "text"])
@pytest.mark.parametrize("settings", [Q, {**TIED, "modules_to_save": ["embed_tokens"]}], ids=str)
@pytest.mark.filterwarnings("ignore")
def test_trained_on_the_text_decoder_or_the_whole(
    gemma: dict[str, Path], tmp_path: Path, trained: str, base: str, settings: dict[str, Any]
) -> None:
    """Of the whole, `q_proj` names the vision tower's as well, which are left alone."""
    adapted = train(gemma[trained], tmp_path / "lora", settings)
    expected = adapted.merge_and_unload().state_dict()
    found = examine({"base": gemma[base], "task/0": tmp_path / "lora"})
    note = "has 4 tensors for a vision tower or projector: left alone"
    assert (note in found.notes.get("task/0", [])) == (trained == "whole")
    family, changed = found.fit(), 0
    there = renamed(family.names, expected)
    for name in family.names:
        merged = family.sources["task/0"].read(name)
        assert torch.equal(merged, expected[there.get(name, name)].bfloat16()), name
        changed += not torch.equal(merged, family.base.read(name))
    assert changed


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "settings", "message"), REFUSED, ids=str)
@pytest.mark.filterwarnings("ignore")
def test_refused_by_name(
    bases: dict[str, Family],
    tmp_path: Path,
    architecture: str,
    settings: dict[str, Any],
    message: str,
) -> None:
    train(Path(bases[architecture].base), tmp_path / "lora", settings)
    with pytest.raises(CheckpointError, match=message):
        merge(bases[architecture], tmp_path / "lora")


def test_the_settings_that_are_refused() -> None:
    """All that PEFT has beyond those that are known: one that a later PEFT adds is seen here."""
    settings = {field.name for field in dataclasses.fields(lora())}
    assert settings - KNOWN == {
        *("alora_invocation_tokens", "arrow_config", "corda_config", "kasa_config"),
        *("layer_replication", "loftq_config", "lora_bias", "lora_ga_config", "megatron_config"),
        *("monteclora_config", "target_parameters", "trainable_token_indices", "use_bdlora"),
        *("use_dora", "use_qalora", "velora_config"),
    }
