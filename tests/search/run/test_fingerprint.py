"""Fingerprints tell models apart that are not the same, and copies that are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import Family
from search.common.errors import StudyError
from search.run.fingerprint import BLOCK, Fingerprints, of_checkpoint, refuse_changed
from tests.sparse import LLAMA_8B, write_sparse


def _flip(folder: Path, place: Callable[[int], int]) -> None:
    """Change one byte of the largest tensor, so many bytes from its beginning."""
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    length = int.from_bytes(data[:8], "little")
    entries = json.loads(data[8 : 8 + length])
    spans = [e["data_offsets"] for name, e in entries.items() if name != "__metadata__"]
    begin, end = max(spans, key=lambda span: span[1] - span[0])
    assert end - begin > 3 * BLOCK
    data[8 + length + begin + place(end - begin)] ^= 1
    file.write_bytes(data)


def _config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rope_theta": 1.0}))


def _training(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file({n: t * 1.01 for n, t in tensors.items()}, file, metadata={"format": "pt"})


CHANGES = {
    "first byte": lambda folder: _flip(folder, lambda size: 0),
    "middle": lambda folder: _flip(folder, lambda size: size // 2),
    "last byte": lambda folder: _flip(folder, lambda size: size - 1),
    "configuration": _config,
    "training": _training,
    "chat template": lambda folder: (folder / "chat_template.jinja").write_text("{{ x }}"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_model(tmp_path: Path, tiny_llama: Family, change: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(str(tiny_llama.base), copy)
    before = of_checkpoint(Checkpoint.open(tiny_llama.base))
    assert of_checkpoint(Checkpoint.open(copy)) == before
    (copy / "README.md").write_text("says nothing of what it computes")
    assert of_checkpoint(Checkpoint.open(copy)) == before
    CHANGES[change](copy)
    assert of_checkpoint(Checkpoint.open(copy)) != before


def test_a_sharded_model(tmp_path: Path) -> None:
    one = Checkpoint.open(write_sparse(tmp_path / "one", LLAMA_8B))
    other = Checkpoint.open(write_sparse(tmp_path / "other", LLAMA_8B))
    assert of_checkpoint(one) == of_checkpoint(other)
    with (tmp_path / "other" / "model-00003-of-00004.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    assert of_checkpoint(one) != of_checkpoint(other)


def test_all_differences_at_once() -> None:
    before = Fingerprints(
        {"base": {"fingerprint": "a"}, "task/0": {"fingerprint": "b"}}, {"m": "1"}
    )
    now = Fingerprints({"base": {"fingerprint": "a"}, "task/0": {"fingerprint": "c"}}, {"l": "2"})
    refuse_changed(before, before, "s")
    with pytest.raises(StudyError) as caught:
        refuse_changed(before, now, "s")
    text = str(caught.value)
    assert "3 things changed since s began" in text and "--import s" in text
    assert "model task/0: b before, c now" in text and "model base" not in text
    assert "data of l: nothing before, 2 now" in text and "data of m: 1 before, nothing" in text
