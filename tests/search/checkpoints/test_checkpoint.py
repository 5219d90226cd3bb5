"""One checkpoint folder: what its files say, in safetensors and in PyTorch's pickled format."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from search.checkpoints.checkpoint import Checkpoint, TensorInfo
from search.checkpoints.family import Family, fit
from search.errors import CheckpointError

EMBED, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
BIN, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"


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


@pytest.fixture
def pickled(tiny_llama: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny base in two pickled files, without its safetensors."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "pickled"
    folder.mkdir()
    source = Path(tiny_llama.base)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    tensors = list(load_file(source / "model.safetensors").items())
    where = {}
    for number in (0, 1):
        file = f"pytorch_model-{number}.bin"
        torch.save(dict(tensors[number::2]), folder / file)
        where |= {name: file for name, _ in tensors[number::2]}
    (folder / INDEX).write_text(json.dumps({"weight_map": where}))
    return folder


def test_pickled_weights_equal_the_safetensors(tiny_llama: Family, pickled: Path) -> None:
    family = fit({"base": tiny_llama.base, "task/0": pickled}, allow_bin=True)
    plain, made = family.sources["base"], family.sources["task/0"]
    assert set(plain.tensors) == set(made.tensors)
    for name in plain.tensors:
        assert torch.equal(plain.read(name), made.read(name))
    assert Checkpoint.open(family.paths["task/0"]).tensors == made.tensors
    assert (made.path / "tokenizer.json").is_file() and not list(made.path.glob("*.bin"))


def test_pickled_tensors_that_share_memory(tiny_llama: Family, pickled: Path) -> None:
    tensors = load_file(Path(tiny_llama.base) / "model.safetensors")
    tensors[HEAD] = tensors[EMBED]
    for file in pickled.glob("pytorch_model*"):
        file.unlink()
    torch.save(tensors, pickled / BIN)
    made = fit({"base": tiny_llama.base, "task/0": pickled}, allow_bin=True).sources["task/0"]
    assert torch.equal(made.read(HEAD), tensors[EMBED])
    assert torch.equal(made.read(NORM), tensors[NORM])


def test_pickled_weights_are_refused_unless_allowed(tiny_llama: Family, pickled: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no \*.safetensors; .*allow_bin: true in the fam"):
        fit({"base": tiny_llama.base, "task/0": pickled})


class RunsCode:
    """Unpickling this makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def _with_code(folder: Path) -> None:
    torch.save({"a": RunsCode(folder / "ran")}, folder / "pytorch_model-0.bin")


def _truncated(folder: Path) -> None:
    file = folder / "pytorch_model-0.bin"
    file.write_bytes(file.read_bytes()[:-100])


def _old(folder: Path) -> None:
    tensors = {"a": torch.ones(2)}
    torch.save(tensors, folder / "pytorch_model-0.bin", _use_new_zipfile_serialization=False)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_with_code, r"pytorch_model-0.bin holds more than tensors, .* could run code"),
        (_truncated, r"pytorch_model-0.bin is truncated, or older than torch 1.6"),
        (_old, r"pytorch_model-0.bin is truncated, or older than torch 1.6"),
        (lambda f: torch.save([torch.ones(2)], f / "pytorch_model-0.bin"), r"no table of tensors"),
        (lambda f: (f / "pytorch_model-1.bin").unlink(), r"lacks pytorch_model-1.bin"),
    ],
)
def test_pickled_weights_that_cannot_be_read(
    tiny_llama: Family, pickled: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(pickled)
    with pytest.raises(CheckpointError, match=message):
        fit({"base": tiny_llama.base, "task/0": pickled}, allow_bin=True)
    assert not (pickled / "ran").exists()
