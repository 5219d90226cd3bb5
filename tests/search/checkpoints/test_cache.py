"""Weights that are made once and kept: when again, by whom, and what a killed process leaves."""

from __future__ import annotations

import json
import math
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from search.checkpoints import cache
from search.checkpoints.checkpoint import ORIGIN, Checkpoint
from search.checkpoints.family import Family, FittedFamily, fit
from search.common.errors import CheckpointError
from tests.families import in_folders
from tests.search.checkpoints.adapters import NORM, Q, Tensors, merge, pair, write_adapter


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "layer-swap-search"


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "lora", pair(Q(0), 64, 64))


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders that the cache writes from now on."""
    seen: list[Path] = []
    write = cache._write

    def counted(checkpoint: Checkpoint, folder: Path) -> None:
        seen.append(folder)
        write(checkpoint, folder)

    monkeypatch.setattr(cache, "_write", counted)
    return seen


def test_merged_once(
    tiny_llama: Family, adapter: Path, writes: list[Path], cache_folder: Path
) -> None:
    first = merge(tiny_llama, adapter)
    assert merge(tiny_llama, adapter).paths == first.paths
    assert len(writes) == 1
    merged = first.sources["task/0"]
    assert merged.path.parent == cache_folder and merged.path.name.startswith("lora-")
    assert merged.revision == first.revisions["task/0"] == "LoRA lora merged into base"
    assert (merged.path / "tokenizer.json").is_file()


def _other_weights(adapter: Path, base: Path) -> None:
    write_adapter(adapter, pair(Q(0), 64, 64, seed=5))


def _other_alpha(adapter: Path, base: Path) -> None:
    write_adapter(adapter, pair(Q(0), 64, 64), lora_alpha=9)


def _other_base(adapter: Path, base: Path) -> None:
    tensors = load_file(base / "model.safetensors")
    save_file({name: tensor * 2 for name, tensor in tensors.items()}, base / "model.safetensors")


@pytest.mark.parametrize("change", [_other_weights, _other_alpha, _other_base])
def test_merged_anew_when_something_changed(
    tiny_llama: Family, adapter: Path, tmp_path: Path, change: Callable[[Path, Path], None]
) -> None:
    base = tmp_path / "own-base"
    base.mkdir()
    for file in Path(tiny_llama.base).iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    os.utime(base / "model.safetensors", (1, 1))
    sources = {"base": base, "task/0": adapter}
    before = fit(sources).sources["task/0"]
    change(adapter, base)
    after = fit(sources).sources["task/0"]
    assert after.path != before.path
    assert not torch.equal(after.read(f"{Q(0)}.weight"), before.read(f"{Q(0)}.weight"))


def test_a_killed_merge_is_made_again(
    tiny_llama: Family, adapter: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after kill -9: nothing cleans up, and the rest is no checkpoint."""
    with monkeypatch.context() as patch:
        patch.setattr(cache, "SHARD_BYTES", 40_000)
        saved: list[Path] = []

        def dies(tensors: Tensors, file: Path, metadata: dict[str, str]) -> None:
            if len(saved) == 2:
                raise KeyboardInterrupt
            saved.append(file)
            save_file(tensors, file, metadata=metadata)

        patch.setattr(cache, "save_file", dies)
        with pytest.raises(KeyboardInterrupt):
            merge(tiny_llama, adapter)
    assert [f.suffix for f in cache_folder.iterdir() if f.is_dir()] == [".part"]
    merged = merge(tiny_llama, adapter).sources["task/0"]
    assert [f for f in cache_folder.iterdir() if f.is_dir()] == [merged.path]
    assert set(merged.tensors) == set(Checkpoint.open(tiny_llama.base).tensors)


def test_two_at_once(tiny_llama: Family, adapter: Path, writes: list[Path]) -> None:
    families: list[FittedFamily] = []
    threads = [
        threading.Thread(target=lambda: families.append(merge(tiny_llama, adapter)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(families) == 3 and len(writes) == 1
    assert len({family.paths["task/0"] for family in families}) == 1


def test_no_room(
    tiny_llama: Family, adapter: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CheckpointError, match=r"0.0 GB are free; name another folder in XDG_CACHE"):
        merge(tiny_llama, adapter)
    assert not [f for f in cache_folder.iterdir() if f.is_dir()]


def test_many_shards(tiny_llama: Family, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SHARD_BYTES", 40_000)
    family = merge(tiny_llama, adapter)
    merged = family.sources["task/0"]
    total = sum(math.prod(info.shape) * 2 for info in family.base.tensors.values())
    assert len(list(merged.path.glob("*.safetensors"))) > total // 40_000
    assert merged.bytes == total
    assert torch.equal(merged.read(f"{NORM}.weight"), family.base.read(f"{NORM}.weight"))


def test_what_is_stored_already_stays_where_it_is(tiny_llama: Family, cache_folder: Path) -> None:
    plain = Checkpoint.open(tiny_llama.base)
    assert cache.store(plain) is plain and not cache_folder.exists()


def test_the_index_says_what_it_was_made_of(tiny_llama: Family, adapter: Path) -> None:
    merged = merge(tiny_llama, adapter).sources["task/0"]
    index = json.loads((merged.path / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {
        "total_size": merged.bytes,
        ORIGIN: "LoRA lora merged into base",
    }
    assert set(index["weight_map"]) == set(merged.tensors)


def test_a_cache_that_cannot_be_written(
    tiny_llama: Family, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(CheckpointError, match=r"cannot be kept in .*file/layer-swap-search: .*XDG"):
        merge(tiny_llama, adapter)


def test_a_digest_tells_texts_files_and_their_order(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("a")
    found = [cache.digest(*parts) for parts in (("a",), ("a", "b"), ("b", "a"), ("b", file))]
    assert len(set(found[:3])) == 3
    assert cache.digest("b", file) == found[3]
    file.write_text("c")
    assert cache.digest("b", file) != found[3]


def test_identity_follows_links_and_changes(tmp_path: Path) -> None:
    """In the hub's cache, files are links to blobs; which order they are named in is all one."""
    one, other, link = (tmp_path / name for name in ("one", "other", "link"))
    one.write_text("1")
    other.write_text("2")
    link.symlink_to(one)
    known = cache.identity([one, other])
    assert cache.identity([other, link]) == known == cache.identity([link, other, one])
    other.write_text("22")
    assert cache.identity([one, other]) != known


def test_a_base_with_more_beside_it_is_given_alone(tiny_llama: Family, tmp_path: Path) -> None:
    """VLLM reads every safetensors file of the folder that it is given, or follows the index."""
    folder = tmp_path / "base"
    shutil.copytree(tiny_llama.base, folder)
    assert cache.alone(Checkpoint.open(folder)).path == folder
    save_file({"v_head.weight": torch.zeros(2)}, folder / "value_head.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "gone.safetensors"}}'
    )
    (folder / "modeling_own.py").write_text("")
    (folder / "adapter_config.json").write_text("{}")
    family = fit({"base": folder})
    found = family.sources["base"]
    assert found.path != folder and found.path.name == "base" and found.notes == ()
    assert {file.name for file in found.path.iterdir()} == {
        *("config.json", "generation_config.json", "model.safetensors"),
        *("tokenizer.json", "tokenizer_config.json"),
    }
    assert family.locations["base"] == str(folder)
    again = fit({"base": folder}).sources["base"]
    assert again.path == found.path


def test_a_base_whose_shards_lie_in_folders_is_given_flat(
    tiny_llama: Family, tmp_path: Path
) -> None:
    """VLLM looks for shards in the folder itself."""
    folder = in_folders(Path(tiny_llama.base), tmp_path / "base")
    found = fit({"base": folder, "task/0": tiny_llama.task[0]}).base
    assert {f.name for f in found.path.glob("*.safetensors")} == {
        "part--0--model.safetensors",
        "part--1--model.safetensors",
    }
    opened = Checkpoint.open(found.path)
    whole = Checkpoint.open(tiny_llama.base)
    assert all(torch.equal(opened.read(name), whole.read(name)) for name in whole.tensors)
    assert [f.name for f in cache.companions(found.path, lambda name: name == "config.json")] == [
        "config.json"
    ]
