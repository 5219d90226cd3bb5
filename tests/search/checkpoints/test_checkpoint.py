"""One checkpoint folder: what its files say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from search.checkpoints.checkpoint import Checkpoint, TensorInfo
from search.common.errors import CheckpointError

EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def write(folder: Path, tensors: dict[str, torch.Tensor], **config: object) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"num_hidden_layers": 1, **config}))
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("said", "head", "tied", "names"),
    [
        ({"tie_word_embeddings": True}, True, True, {EMBED}),
        ({"tie_word_embeddings": True}, False, True, {EMBED}),
        ({"tie_word_embeddings": False}, True, False, {EMBED, HEAD}),
        ({}, True, False, {EMBED, HEAD}),
        ({}, False, True, {EMBED}),  # as Gemma's published config.json
    ],
)
def test_tied(tmp_path: Path, said: dict[str, bool], head: bool, tied: bool, names: set) -> None:
    tensors = {name: torch.ones(3, 2) for name in [EMBED] + [HEAD] * head}
    opened = Checkpoint.open(write(tmp_path / "m", tensors, **said))
    assert opened.tied == tied
    assert set(opened.tensors) == names


def test_buffers_of_old_checkpoints_are_no_weights(tmp_path: Path) -> None:
    buffers = [
        "model.layers.0.self_attn.rotary_emb.inv_freq",
        "gpt_neox.layers.0.attention.bias",
        "gpt_neox.layers.0.attention.masked_bias",
        "transformer.h.0.attn.bias",
    ]
    weights = ["gpt_neox.layers.0.attention.dense.bias", "transformer.h.0.attn.c_attn.bias"]
    folder = write(tmp_path / "m", {name: torch.ones(2) for name in buffers + weights})
    assert set(Checkpoint.open(folder).tensors) == set(weights)


def test_size(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {"a": torch.ones(3, 5), "b": torch.ones(7).bfloat16()})
    opened = Checkpoint.open(folder)
    assert (opened.parameters, opened.bytes) == (22, 3 * 5 * 4 + 7 * 2)


@pytest.mark.parametrize(
    ("dtype", "size"), [("BF16", 2), ("F64", 8), ("F8_E4M3", 1), ("BOOL", 1), ("I64", 8)]
)
def test_size_of_a_tensor(dtype: str, size: int) -> None:
    assert TensorInfo("f", dtype, (3, 4)).bytes == 12 * size


@pytest.mark.parametrize(
    ("place", "revision", "label"),
    [
        ("hub/models--org--my-model/snapshots/0123456789", "org/my-model@0123456789", "0123456"),
        ("snapshots/0123456789", "", "0123456789"),
        ("my-model", "", "my-model"),
    ],
)
def test_revision(tmp_path: Path, place: str, revision: str, label: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    opened = Checkpoint.open(write(tmp_path / place, {"a": torch.ones(2)}))
    assert opened.revision == revision
    assert opened.label.endswith(label)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{", "index.json cannot be read"),
        ("[]", "index.json must hold a JSON object"),
        ("{}", "index.json has no weight_map: tensor name -> file"),
        ('{"weight_map": ["a"]}', "index.json has no weight_map"),
        ('{"weight_map": {"a": 1}}', "index.json has no weight_map"),
        ('{"weight_map": {}}', "names 0 shards"),
        (
            '{"weight_map": {"b": "model.safetensors"}}',
            r"names tensors that no shard holds: \['b'\]",
        ),
    ],
)
def test_an_index_that_cannot_be_used(tmp_path: Path, index: str, message: str) -> None:
    folder = write(tmp_path / "m", {"a": torch.ones(2)})
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.open(folder)
