"""Models at a URL: file:// and memory:// are real stores of fsspec, of one process or many."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from safetensors.torch import load_file, save

from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import Family, examine, fit
from search.checkpoints.sources import node_files, url
from search.common.errors import CheckpointError, ExpertMismatchError
from search.run.fingerprint import take
from tests.families import in_folders
from tests.search.checkpoints.adapters import Q, pair, write_adapter
from tests.search.checkpoints.sources import fetcher


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "layer-swap-search" / "fetched"


@pytest.fixture
def memory() -> Iterator[Any]:
    store = fsspec.filesystem("memory")
    yield store
    store.rm("/models", recursive=True)


@pytest.fixture
def sources(memory: Any, tiny_llama: Family) -> dict[str, str]:
    """The tiny family's base at home, its experts in two stores."""
    memory.put(str(tiny_llama.task[0]) + "/", "/models/math/", recursive=True)
    return {
        "base": str(tiny_llama.base),
        "task/0": "memory://models/math",
        "lang/0": f"file://{tiny_llama.language['te'][0]}",
    }


def test_headers_are_read_without_the_weights(sources: dict[str, str], cache: Path) -> None:
    found = examine(sources)
    assert found.error() is None
    assert not list(cache.rglob("*.safetensors"))
    for name in ("task/0", "lang/0"):
        assert found.opened[name].tensors == found.opened["base"].tensors


def test_weights_are_fetched_once_and_known_by_their_url(
    sources: dict[str, str], cache: Path, tiny_llama: Family
) -> None:
    family = fit(sources)
    expected = load_file(Path(tiny_llama.task[0]) / "model.safetensors")
    for name, tensor in expected.items():
        assert torch.equal(family.sources["task/0"].read(name), tensor)
    assert family.revisions["task/0"].startswith("memory://models/math#")
    state = {file: file.stat().st_mtime_ns for file in cache.rglob("*.safetensors")}
    assert len(state) == 2
    again = fit(family.locations)
    assert again.paths == family.paths
    assert {file: file.stat().st_mtime_ns for file in cache.rglob("*.safetensors")} == state


def test_what_only_engines_need_stays_away(sources: dict[str, str], cache: Path) -> None:
    """The driver of a cluster: headers of what lies elsewhere, and where to find just that."""
    family = examine(sources).fit(fetch=False)
    assert not list(cache.rglob("*.safetensors"))
    assert family.n_layers == 4 and set(family.names) == set(family.base.tensors)
    assert family.locations["base"] == sources["base"]
    found = fit(family.locations)  # on a node
    assert found.sources["lang/0"].read(f"{Q(0)}.weight").shape == (64, 64)


def test_a_changed_model_is_fetched_anew_but_not_within_a_study(
    sources: dict[str, str], memory: Any, tiny_llama: Family
) -> None:
    seen = examine(sources).fit(fetch=False).locations
    before = fit(seen).paths["task/0"]
    weights = (Path(tiny_llama.task[1]) / "model.safetensors").read_bytes()
    memory.pipe("/models/math/model.safetensors", weights)
    with pytest.raises(CheckpointError, match=r"memory://models/math has changed since the search"):
        fit(seen)
    assert fit(sources).paths["task/0"] != before


def test_misfit_is_found_before_the_download(
    sources: dict[str, str], cache: Path, tiny_qwen2: Family
) -> None:
    with pytest.raises(ExpertMismatchError, match=r"lang/0 \(file://.*has model_type qwen2"):
        fit(sources | {"lang/0": f"file://{tiny_qwen2.base}"})
    assert not list(cache.rglob("*.safetensors"))


def test_adapter(sources: dict[str, str], tmp_path: Path, memory: Any) -> None:
    tensors = pair(Q(0), 64, 64)
    memory.put(str(write_adapter(tmp_path / "lora", tensors)) + "/", "/models/lora/", True)
    family = fit(sources | {"task/0": "memory://models/lora"})
    base, merged = (family.sources[s].read(f"{Q(0)}.weight") for s in ("base", "task/0"))
    a, b = tensors.values()
    assert torch.equal(merged, (base.float() + 2.0 * (b @ a)).bfloat16())


def test_an_adapter_here_has_one_fingerprint_whether_its_base_is_fetched_or_not(
    sources: dict[str, str], tmp_path: Path, memory: Any
) -> None:
    """So that a study may move to a cluster, and is told of an adapter that was trained again."""

    def prints(adapter: Path) -> set[str]:
        given = sources | {"base": "memory://models/math", "task/0": str(adapter)}
        families = (examine(given).fit(fetch=fetch) for fetch in (True, False))
        return {take(f, [], {}).family["task/0"]["fingerprint"] for f in families}

    tensors = pair(Q(0), 64, 64)
    before = prints(write_adapter(tmp_path / "lora", tensors))
    assert len(before) == 1
    changed = {name: tensor + 1 for name, tensor in tensors.items()}
    after = prints(write_adapter(tmp_path / "lora", changed))
    assert len(after) == 1 and after != before


INDEX = "model.safetensors.index.json"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
SPARE = {"v_head.summary.weight": torch.zeros(1, 64)}


def index(**where: str) -> bytes:
    return json.dumps({"weight_map": where}).encode()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"value_head.safetensors": save(SPARE)}, "value_head.safetensors beside the model: left"),
        ({"consolidated.safetensors": save(SPARE)}, "consolidated.safetensors beside the model"),
        (
            {"adapter_config.json": b"{}", "adapter_model.safetensors": save(SPARE)},
            "adapter_model.safetensors, adapter_config.json beside the model: left alone",
        ),
        ({INDEX: index(a="model-1.safetensors")}, f"{INDEX} is left alone: it names other files"),
        ({INDEX: index(lost="model.safetensors")}, f"{INDEX} names tensors that no shard holds"),
        ({INDEX: b"[]"}, "must hold a JSON object"),
        ({"model.safetensors": POINTER}, "is a Git LFS pointer, not the file: run `git lfs pull`"),
    ],
)
def test_one_set_of_rules_for_folders_and_urls(
    tmp_path: Path, memory: Any, tiny_llama: Family, files: dict[str, bytes], said: str
) -> None:
    """What is beside a model is left alone and told; what is wrong is found by headers."""
    folder = tmp_path / "odd"
    shutil.copytree(tiny_llama.task[0], folder)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    memory.put(f"{folder}/", "/models/odd/", recursive=True)
    there, here = "memory://models/odd", str(folder)
    found = examine({"base": tiny_llama.base, "task/0": there, "task/1": here})
    told = [
        str(found.unopened.get(name) or "; ".join(found.notes.get(name, ())))
        for name in ("task/0", "task/1")
    ]
    assert said in told[0] and told[0].replace(there, "") == told[1].replace(here, "")
    if not found.unopened:
        family = found.fit()
        name = f"{Q(0)}.weight"
        assert torch.equal(*(family.sources[f"task/{i}"].read(name) for i in (0, 1)))
        assert not list(Path(family.paths["task/0"]).glob("*head*"))


def test_pickled_adapter(sources: dict[str, str], tmp_path: Path, memory: Any) -> None:
    tensors = pair(Q(0), 64, 64)
    folder = write_adapter(tmp_path / "lora", tensors)
    (folder / "adapter_model.safetensors").unlink()
    torch.save(tensors, folder / "adapter_model.bin")
    memory.put(f"{folder}/", "/models/lora/", recursive=True)
    given = sources | {"task/0": "memory://models/lora", "task/1": str(folder)}
    with pytest.raises(CheckpointError, match=r"(?s)task/0.*allow_bin: true.*1: .*allow_bin"):
        fit(given)
    family = fit(given, allow_bin=True)
    base, *merged = (family.sources[s].read(f"{Q(0)}.weight") for s in ("base", "task/0", "task/1"))
    a, b = tensors.values()
    assert all(torch.equal(m, (base.float() + 2.0 * (b @ a)).bfloat16()) for m in merged)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3x://bucket/te", r"s3x:// is not supported; use s3, gs, .*, a folder, or org/name"),
        ("simplecache::s3://bucket/te", r"simplecache::s3:/.*config.json is missing"),
        ("gs://bucket/te", r"gs:// needs the package gcsfs, on every node: pip install gcsfs"),
        ("s3://key:secret@bucket/te", r"^s3://\*\*\*@\.\.\.: a password in a URL"),
        ("memory://models/none", r"memory://models/none cannot be read \(FileNotFoundError"),
    ],
)
def test_urls_that_cannot_be_used(sources: dict[str, str], url: str, message: str) -> None:
    found = examine(sources | {"task/0": url})
    with pytest.raises(CheckpointError, match=message) as caught:
        raise found.unopened["task/0"]
    assert "secret@" not in str(caught.value)


def test_truncated_file(sources: dict[str, str], memory: Any) -> None:
    data = memory.cat("/models/math/model.safetensors")
    memory.pipe("/models/math/model.safetensors", data[:-10])
    with pytest.raises(CheckpointError, match=r"model.safetensors is truncated .*it has \d+ bytes"):
        fit(sources)


def test_no_room(sources: dict[str, str], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil._ntuple_diskusage(10**9, 10**9, 0)
    monkeypatch.setattr("search.checkpoints.sources.url.shutil.disk_usage", lambda _: full)
    with pytest.raises(CheckpointError, match=r"cannot be fetched to .* GB are free; mend that"):
        url.fetch("memory://models/math", weights=True)
    assert not [folder for folder in cache.iterdir() if folder.suffix != ".part"]


def test_names_in_a_store_stay_in_the_cache(memory: Any, cache: Path) -> None:
    """A store's names are no paths: what it calls `..` or nests is not written anywhere else."""
    for name in ("config.json", "sub/evil.json", "sub/../../evil.json"):
        memory.pipe_file(f"/models/odd/{name}", b"{}")
    memory.store["/models/odd/..\\..\\evil.json"] = memory.store["/models/odd/config.json"]
    folder = url.fetch("memory://models/odd/", weights=True)
    assert folder.parent == cache
    assert all(file.parent == folder for file in cache.rglob("*") if file.is_file())
    assert not (cache.parent / "evil.json").exists()


@pytest.mark.slow
def test_one_engine_of_a_node_fetches_for_all(tmp_path: Path, tiny_llama: Family) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([fetcher.__name__])  # torch is loaded once for the three
    times = context.Queue()
    arguments = (f"file://{tiny_llama.base}", str(tmp_path / "shared"), 0.1, times)
    engines = [context.Process(target=fetcher.fetch, args=arguments) for _ in range(3)]
    for engine in engines:
        engine.start()
    for engine in engines:
        engine.join()
    assert [engine.exitcode for engine in engines] == [0, 0, 0]
    read = [times.get(timeout=5) for _ in Path(tiny_llama.base).iterdir()]
    assert len(set(read)) == len(read) and times.empty()


@pytest.mark.slow
def test_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_files, "FIRST", 0.01)
    monkeypatch.setattr(node_files, "EVERY", 0.01)
    (tmp_path / "old").write_bytes(bytes(10**8))
    with node_files.progress("s3://bucket/te", tmp_path, 4 * 10**8):
        (tmp_path / "new").write_bytes(bytes(2 * 10**8))
        seen = ""
        while "0.2 of 0.4 GB" not in seen:  # the run's own time limit ends a wait for nothing
            seen += capsys.readouterr().err
    assert "fetching s3://bucket/te: 0.2 of 0.4 GB" in seen


def test_nothing_is_said_of_what_takes_no_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with node_files.progress("x", tmp_path):
        pass
    assert capsys.readouterr().err == ""


def test_folders_of_the_drivers_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, node = tmp_path / "driver", tmp_path / "node"
    for folder in (driver / "demo", driver / "only", node / "demo"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(node)
    assert node_files.here(str(driver / "demo"), str(driver)) == str(node / "demo")
    for stays in (str(driver / "only"), "/models/te", "org/name@main", "s3://bucket/te"):
        assert node_files.here(stays, str(driver)) == stays
    assert node_files.here(str(driver / "demo"), "") == str(driver / "demo")


@pytest.mark.parametrize(
    "name", ["../..", "/etc/passwd", "..", ".", "a/../../b", "a\0b", "", "s3://b/../../x", ".lock"]
)
def test_a_plain_name_is_one_part_of_a_path(tmp_path: Path, name: str) -> None:
    found = tmp_path / node_files.plain(name)
    assert found.parent == tmp_path and found.resolve().parent == tmp_path.resolve()
    found.write_text("x")


def test_shards_in_folders_below(
    sources: dict[str, str], memory: Any, cache: Path, tiny_llama: Family, tmp_path: Path
) -> None:
    memory.rm("/models/math", recursive=True)
    folder = in_folders(Path(tiny_llama.task[0]), tmp_path / "own")
    memory.put(str(folder) + "/", "/models/math/", recursive=True)
    assert examine(sources).error() is None and not list(cache.glob("*/**/model.safetensors"))
    found, whole = fit(sources).sources["task/0"], Checkpoint.open(tiny_llama.task[0])
    assert len(list(found.path.glob("part/*/model.safetensors"))) == 2
    assert all(torch.equal(found.read(name), whole.read(name)) for name in whole.tensors)
