"""Checkpoints of real size that take no disk: safetensors headers in front of a hole."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

LLAMA_8B = dict(
    architectures=["LlamaForCausalLM"],
    model_type="llama",
    num_hidden_layers=32,
    hidden_size=4096,
    intermediate_size=14336,
    num_attention_heads=32,
    num_key_value_heads=8,
    vocab_size=128256,
    rope_theta=500000.0,
    tie_word_embeddings=False,
)


def llama_shapes(config: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape of a Llama."""
    hidden, mlp = config["hidden_size"], config["intermediate_size"]
    keys = hidden * config["num_key_value_heads"] // config["num_attention_heads"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
        "lm_head.weight": (config["vocab_size"], hidden),
    }
    for i in range(config["num_hidden_layers"]):
        for name, shape in {
            "self_attn.q_proj": (hidden, hidden),
            "self_attn.k_proj": (keys, hidden),
            "self_attn.v_proj": (keys, hidden),
            "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (mlp, hidden),
            "mlp.up_proj": (mlp, hidden),
            "mlp.down_proj": (hidden, mlp),
            "input_layernorm": (hidden,),
            "post_attention_layernorm": (hidden,),
        }.items():
            shapes[f"model.layers.{i}.{name}.weight"] = shape
    return shapes


def write_sparse(folder: Path, config: dict[str, object], shards: int = 4) -> Path:
    """A bf16 Llama of zeros, sharded, with a hole where its weights would be."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    shapes = list(llama_shapes(config).items())  # type: ignore[arg-type]
    where = {}
    for number in range(shards):
        name = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        header: dict[str, object] = {}
        offset = 0
        for tensor, shape in shapes[number::shards]:
            end = offset + 2 * math.prod(shape)
            header[tensor] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
            offset, where[tensor] = end, name
        data = json.dumps(header).encode()
        (folder / name).write_bytes(len(data).to_bytes(8, "little") + data)
        os.truncate(folder / name, 8 + len(data) + offset)
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder
