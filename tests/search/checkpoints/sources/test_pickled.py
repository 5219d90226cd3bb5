"""A checkpoint in PyTorch's pickled format: read as its safetensors would be, or refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import Family, fit
from search.checkpoints.files import choose
from search.checkpoints.sources.pickled import open_pickled
from search.common.errors import CheckpointError

EMBED, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
BIN, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"


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
        (lambda f: (f / INDEX).write_text("{"), r"pytorch_model.bin.index.json cannot be read"),
        (lambda f: (f / INDEX).write_text("{}"), r"index.json has no weight_map: tensor name"),
    ],
)
def test_pickled_weights_that_cannot_be_read(
    tiny_llama: Family, pickled: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(pickled)
    with pytest.raises(CheckpointError, match=message):
        fit({"base": tiny_llama.base, "task/0": pickled}, allow_bin=True)
    assert not (pickled / "ran").exists()


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ([BIN], "pickled"),
        (["pytorch_model-00001-of-00002.bin"], "pickled"),
        ([BIN, "model.safetensors"], "safetensors"),
        ([BIN, "value_head.safetensors"], "pickled"),
        ([BIN, "adapter_config.json", "adapter_model.bin"], "pickled"),
        (["training_args.bin"], ""),
        ([], ""),
    ],
)
def test_what_is_pickled(tmp_path: Path, files: list[str], found: str) -> None:
    """Safetensors come first; other .bin files are no weights."""
    for name in files:
        (tmp_path / name).touch()
    assert choose(tmp_path).kind == found


def test_headers_are_read_without_the_weights(pickled: Path) -> None:
    opened = open_pickled(pickled)
    norm = opened.tensors[NORM]
    assert (norm.dtype, norm.shape) == ("BF16", (64,)) and norm.file.startswith("pytorch_model-")
    derived = opened.derived
    assert derived is not None and not derived._tensors  # type: ignore[attr-defined]


def test_a_file_without_an_index(pickled: Path) -> None:
    (pickled / INDEX).unlink()
    with pytest.raises(CheckpointError, match=f"{pickled} lacks {BIN}"):
        open_pickled(pickled)


def test_the_key_follows_the_files(pickled: Path) -> None:
    """What was made of them once is found again, until one of them changes."""

    def key() -> str:
        derived = open_pickled(pickled).derived
        assert derived is not None
        return derived.key()

    before = key()
    assert key() == before
    os.utime(pickled / "pytorch_model-1.bin", (1, 1))
    assert key() != before
