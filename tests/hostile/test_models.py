"""Models that somebody made to use up memory or time, or to end the program that looks at them."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from search.checkpoints.family import Family
from tests.hostile.limits import limited
from tests.search.checkpoints.adapters import Q, pair, write_adapter

INDEX = "model.safetensors.index.json"
DEEP = b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
LONG = b'{"a": ' + b"9" * 5000 + b"}"
CODE = """
import json, sys
from search.checkpoints.family import examine
base, *folders = sys.argv[1:]
for folder in folders:
    for sources in ({"base": base, "task/0": folder}, {"base": folder}):
        found = examine(sources)
        print(json.dumps(str(found.error() or "fits")), flush=True)
"""

Make = Callable[[Path], Any]
"""Changes a copy of a model."""


def edited(name: str, **entries: Any) -> Make:
    def make(folder: Path) -> None:
        data = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(data | entries), encoding="utf-8")

    return make


def raw(name: str, data: bytes) -> Make:
    return lambda folder: (folder / name).write_bytes(data)


def link(name: str, target: str) -> Make:
    def make(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return make


def pipe(name: str) -> Make:
    def make(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return make


def tensor(name: str) -> Make:
    def make(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        save_file(tensors | {name: torch.zeros(1)}, folder / "model.safetensors")

    return make


def adapter(pattern: str) -> Make:
    def make(folder: Path) -> None:
        for file in folder.iterdir():
            file.unlink()
        tensors = pair("model." + "a." * 20 + "x", 64, 64) | pair(Q(0), 64, 64)
        write_adapter(folder, tensors, alpha_pattern={pattern: 4})

    return make


def header(offsets: str) -> Make:
    """All tensors where another lies, or where none can."""

    def make(folder: Path) -> None:
        data = (folder / "model.safetensors").read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        said = re.sub(rb"\[\d+,\d+\](?=})", offsets.encode(), data[8 : 8 + size])
        new = struct.pack("<Q", len(said)) + said + data[8 + size :]
        (folder / "model.safetensors").write_bytes(new)

    return make


def rank(**entries: Any) -> Make:
    def make(folder: Path) -> None:
        for file in folder.iterdir():
            file.unlink()
        write_adapter(folder, pair(Q(0), 64, 64), **entries)

    return make


def normalizer(size: int, rest: bytes) -> Make:
    table = b64encode(struct.pack("<I", size) + rest).decode()
    part = {"type": "Precompiled", "precompiled_charsmap": table}
    nested = {"type": "Sequence", "normalizers": [part]}
    return edited("tokenizer.json", normalizer=nested)


def holes(name: str) -> Make:
    """A file of any size that takes no room on a disk."""

    def make(folder: Path) -> None:
        with (folder / name).open("wb") as file:
            file.truncate(2**36)

    return make


CASES: dict[str, tuple[Make, str]] = {
    **{
        f"{name} {value:.0e}": (edited("config.json", **{name: value}), f"has {name} {value}")
        for name in ("num_hidden_layers", "n_layer")
        for value in (10**9, 10**30)
    },
    "hidden_size": (edited("config.json", hidden_size=10**30), f"has hidden_size {10**30}"),
    "deep config": (raw("config.json", DEEP), "config.json cannot be read: it is nested"),
    "long config": (raw("config.json", LONG), "config.json cannot be read: Exceeds the limit"),
    "deep index": (raw(INDEX, DEEP), "index.json cannot be read: it is nested"),
    "deep tokenizer": (raw("tokenizer.json", DEEP), "tokenizer.json cannot be read: it is nested"),
    "long tokenizer": (raw("tokenizer.json", LONG), "tokenizer.json cannot be read: Exceeds"),
    "endless config": (link("config.json", "/dev/zero"), "it is no regular file"),
    **{
        f"holes in {name}": (holes(name), f"{name} cannot be read: [Errno 27] it is larger")
        for name in ("config.json", INDEX, "tokenizer.json", "tokenizer.model")
    },
    "a long name": (edited("config.json", architectures=["a" * 10_000_000]), "has architectures"),
    "a long key": (edited("config.json", **{"a" * 5_000_000: 1}), "computes differently"),
    "a pipe as config": (pipe("config.json"), "it is no regular file"),
    "a pipe as weights": (pipe("model.safetensors"), "holds no *.safetensors"),
    "large table": (normalizer(2**32 - 1, b"\0" * 8), "its precompiled_charsmap is cut off"),
    "a panic": (normalizer(0, b"\xff" * 9), "has another tokenizer than the base"),
    "a layer's long number": (tensor(f"model.layers.{'9' * 5000}.x.weight"), "model.layers.999"),
    "nested quantifiers": (adapter(r"(\w+\.?)+!"), "is no plain name of modules"),
    "a class of characters": (adapter("[ab]*"), "is no plain name of modules"),
    "a long kind": (edited("tokenizer.json", model={"type": "x" * 10**6, "vocab": {}}), "xx ..."),
    "a long piece": (
        edited("tokenizer.json", model={"type": "BPE", "vocab": {"x" * 10**6: "y"}, "merges": []}),
        "the vocabulary numbers 'xxx",
    ),
    "offsets below 0": (header("[-1, 5]"), "is truncated or not safetensors"),
    "offsets of others": (header("[0, 5]"), "is truncated or not safetensors"),
    "a length beyond the file": (
        raw("model.safetensors", b"\xff" * 7 + b"\x7f{}"),
        "is truncated or not safetensors",
    ),
    "rank beyond all": (rank(r=10**30), f"says rank {10**30}"),
    "alpha beyond all": (rank(lora_alpha=10**400), "a valid number, not 1000000"),
    "shards above": (raw(INDEX, b'{"weight_map": {"a": "../x.safetensors"}}'), "no file of its f"),
}
"""Name -> what is done to a model, and what is said of it as an expert."""


@pytest.mark.slow
def test_every_model_is_refused_by_name(tiny_llama: Family, tmp_path: Path) -> None:
    base, folders = Path(tiny_llama.base), []
    for name, (make, _) in CASES.items():
        folders.append(shutil.copytree(base, tmp_path / name))
        make(folders[-1])
    run = limited("-c", CODE, str(base), *map(str, folders))
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.returncode == 0, f"after {len(lines)} lines: {run.stderr[-2000:]}"
    for (name, (_, said)), expert in zip(CASES.items(), lines[::2], strict=True):
        assert said in expert and len(expert) < 1500, f"{name}: {expert[:3000]}"
        assert "task/0" in expert, name
