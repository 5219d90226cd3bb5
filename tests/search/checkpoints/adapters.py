"""LoRA adapters for the tiny families, and their merge as the service makes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from search.checkpoints.family import Family, FittedFamily, fit

Tensors = dict[str, torch.Tensor]
PREFIX = "base_model.model."
Q = "model.layers.{}.self_attn.q_proj".format  # 64 x 64 in the tiny Llama
DOWN = "model.layers.{}.mlp.down_proj".format  # 64 x 96
EMBED, HEAD, NORM = "model.embed_tokens", "lm_head", "model.norm"
CONFIG = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}


def pair(module: str, out: int, columns: int, rank: int = 4, seed: int = 0) -> Tensors:
    """LoRA's A and B of one linear layer, as PEFT names them."""
    random = torch.Generator().manual_seed(seed)
    return {
        f"{PREFIX}{module}.lora_A.weight": torch.randn(rank, columns, generator=random) * 0.1,
        f"{PREFIX}{module}.lora_B.weight": torch.randn(out, rank, generator=random) * 0.1,
    }


def write_adapter(folder: Path, tensors: Tensors, **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | config))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def merge(family: Family, adapter: Path) -> FittedFamily:
    return fit({"base": family.base, "task/0": adapter})
