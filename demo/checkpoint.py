"""Model folders in Hugging Face's layout: config, bfloat16 weights, tokenizer.

Owns reading and writing them. Knows nothing of training or merging.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from demo import tokenizer
from demo.model import Shape, State


def config(shape: Shape) -> dict[str, object]:
    """`config.json` of a model."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": tokenizer.BOS_ID,
        "dtype": "bfloat16",
        "eos_token_id": tokenizer.EOS_ID,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.mlp,
        "max_position_embeddings": shape.context,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": shape.eps,
        "rope_theta": shape.theta,
        "tie_word_embeddings": False,
        "vocab_size": shape.vocab,
    }


def write(folder: Path, shape: Shape, state: State) -> None:
    """Writes a model folder; float32 weights are rounded once."""
    folder.mkdir(parents=True, exist_ok=True)
    generation = {
        "bos_token_id": tokenizer.BOS_ID,
        "eos_token_id": tokenizer.EOS_ID,
        "do_sample": False,
    }
    for name, content in (("config", config(shape)), ("generation_config", generation)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(folder)


def read(folder: Path) -> State:
    """A model's weights, widened to float32."""
    tensors = load_file(folder / "model.safetensors")
    return {name: tensor.float() for name, tensor in tensors.items()}
