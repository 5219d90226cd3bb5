"""Models of the Hugging Face hub, from one on this machine: downloads, the cache, what is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import Family, examine, fit
from search.checkpoints.sources import hub
from search.common.errors import CheckpointError, ExpertMismatchError, HubError
from tests.families import in_folders
from tests.hub_server import COMMIT, Hub
from tests.search.checkpoints.adapters import Q, pair, write_adapter

pytestmark = pytest.mark.slow  # a server for each test


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub without models, and an empty cache."""
    server = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    yield server
    server.close()


@pytest.fixture
def sources(server: Hub, tiny_llama: Family) -> dict[str, str]:
    """The tiny family on the hub."""
    server.models = {
        "org/base": Path(tiny_llama.base),
        "org/math": Path(tiny_llama.task[0]),
        "org/te": Path(tiny_llama.language["te"][0]),
    }
    return {"base": "org/base", "task/0": "org/math@main", "lang/0": f"org/te@{COMMIT}"}


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_headers_are_read_without_the_weights(server: Hub, sources: dict[str, str]) -> None:
    found = examine(sources)
    assert found.error() is None
    size = (server.models["org/base"] / "model.safetensors").stat().st_size
    assert 0 < server.sent["model.safetensors"] < 3 * size
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.safetensors"))
    names = load_file(server.models["org/base"] / "model.safetensors").keys()
    assert found.opened["base"].tensors.keys() == names
    assert found.opened["base"].label == f"org/base@{COMMIT[:7]}"


def test_weights_and_revisions(server: Hub, sources: dict[str, str]) -> None:
    family = fit(sources)
    assert family.revisions == {
        "base": f"org/base@{COMMIT}",
        "task/0": f"org/math@{COMMIT}",
        "lang/0": f"org/te@{COMMIT}",
    }
    expected = load_file(server.models["org/math"] / "model.safetensors")
    for name, tensor in expected.items():
        assert torch.equal(family.sources["task/0"].read(name), tensor)
    assert Path(family.paths["base"], "tokenizer.json").is_file()


def test_cached_models_need_no_hub(
    sources: dict[str, str], server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = fit(sources).paths
    sent = dict(server.sent)
    offline(monkeypatch)
    assert fit(sources).paths == paths
    assert server.sent == sent


def test_only_what_is_needed_is_downloaded(
    server: Hub, sources: dict[str, str], tiny_llama: Family, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    shutil.copytree(tiny_llama.task[0], full)
    for name in ("modeling_own.py", "consolidated.safetensors", "pytorch_model.bin", "x.gguf"):
        (full / name).write_bytes(b"x")
    server.models["org/math"] = full
    folder = Path(fit(sources).paths["task/0"])
    assert {f.name for f in folder.iterdir()} == {f.name for f in Path(tiny_llama.base).iterdir()}


def test_the_rules_of_folders_hold_for_the_hub(
    server: Hub, sources: dict[str, str], tiny_llama: Family, tmp_path: Path
) -> None:
    """An adapter beside a whole model; then an index that names what no file holds, by headers."""
    odd = tmp_path / "odd"
    shutil.copytree(tiny_llama.task[0], odd)
    write_adapter(tmp_path / "lora", pair(Q(0), 64, 64))
    for file in (tmp_path / "lora").iterdir():
        shutil.copy(file, odd)
    server.models["org/math"] = odd
    found = examine(sources)
    assert found.notes["task/0"] == [
        "adapter_model.safetensors, adapter_config.json beside the model: left alone"
    ]
    expected = load_file(odd / "model.safetensors")
    assert torch.equal(
        found.fit().sources["task/0"].read(f"{Q(0)}.weight"), expected[f"{Q(0)}.weight"]
    )
    index = {"weight_map": {"lost": "model.safetensors"}}
    (odd / "model.safetensors.index.json").write_text(json.dumps(index))
    server.models["org/lost"] = odd
    with pytest.raises(CheckpointError, match=r"index.json names tensors that no shard holds"):
        examine(sources | {"task/0": "org/lost"}).raise_faults()
    assert not list(Path(constants.HF_HUB_CACHE).glob("models--org--lost/**/model.safetensors"))


def test_pickled_model(server: Hub, sources: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(server.models["org/math"], folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    server.models["org/math"] = folder
    with pytest.raises(CheckpointError, match=r"org/math has no safetensors; .*allow_bin: true"):
        fit(sources)
    family = fit(sources, allow_bin=True)
    expected = torch.load(folder / "pytorch_model.bin")
    assert torch.equal(family.sources["task/0"].read(f"{Q(0)}.weight"), expected[f"{Q(0)}.weight"])
    assert family.revisions["task/0"] == f"org/math@{COMMIT}"


def test_adapter(server: Hub, sources: dict[str, str], tmp_path: Path) -> None:
    tensors = pair(Q(0), 64, 64)
    server.models["org/lora"] = write_adapter(tmp_path / "lora", tensors)
    family = fit(sources | {"task/0": "org/lora"})
    base, merged = (family.sources[s].read(f"{Q(0)}.weight") for s in ("base", "task/0"))
    a, b = tensors.values()
    assert torch.equal(merged, (base.float() + 2.0 * (b @ a)).bfloat16())
    expected = f"LoRA org/lora@{COMMIT} merged into org/base@{COMMIT}"
    assert family.revisions["task/0"] == expected


def test_mismatch_is_found_before_the_download(
    server: Hub, sources: dict[str, str], tiny_qwen2: Family
) -> None:
    server.models["org/te"] = Path(tiny_qwen2.base)
    with pytest.raises(ExpertMismatchError, match=r"lang/0 \(org/te@.*has model_type qwen2"):
        fit(sources)
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("models/mathh", r"models/mathh: no such folder, and the hub has no model models/mathh"),
        ("org/te@v2", r"org/te@v2: no such folder, and the hub's model org/te has no revision v2"),
        ("org/math", r"org/math: no such folder, and org/math is gated on the hub: accept its"),
    ],
)
def test_no_such_model(server: Hub, sources: dict[str, str], location: str, message: str) -> None:
    server.gated = {"org/math"}
    found = examine({"base": "org/base", "task/0": location})
    assert (
        str(found.error())
        == f"1 checkpoint that cannot be opened:\n  task/0: {found.unopened['task/0']}"
    )
    with pytest.raises(HubError, match=message):
        hub.fetch(location, online=True, weights=True)


def test_offline_and_not_cached(sources: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One error for all: both readings of each place, both ways out once."""
    offline(monkeypatch)
    with pytest.raises(CheckpointError) as caught:
        fit(sources | {"reference/x": "nowhere"})
    lines = str(caught.value).splitlines()
    assert lines[0] == "4 checkpoints that cannot be opened:"
    for line, (source, location) in zip(lines[1:4], sources.items(), strict=True):
        assert line.startswith(f"  {source}: {location}: no such folder, and as a model of the hub")
        assert "the hub cannot be reached (HF_HUB_OFFLINE is set)" in line
    assert lines[4].endswith(
        "nowhere/config.json is missing: a Hugging Face model folder holds one"
    )
    assert lines[5:] == [hub.WAYS_OUT]


def test_headers_alone_are_not_enough_offline(
    sources: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert examine(sources).error() is None
    offline(monkeypatch)
    with pytest.raises(
        CheckpointError, match=r"(?s)org/base@.*not \(or not wholly\) in .*Two ways out"
    ):
        fit(sources)


def test_no_connection(sources: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port
    with pytest.raises(CheckpointError, match=r"cannot be reached \(no answer from http"):
        fit(sources)


def test_a_folder_comes_before_the_hub(
    server: Hub, sources: dict[str, str], tiny_llama: Family, tmp_path: Path
) -> None:
    shutil.copytree(tiny_llama.task[1], tmp_path / "org" / "math")
    family = fit({"base": "org/base", "task/0": "org/math"})
    assert family.paths["task/0"] == str(tmp_path / "org" / "math")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("org/name", True),
        ("org/name@main", True),
        ("Qwen/Qwen3-8B-Base@refs/pr/3", True),
        ("name", False),
        ("./org/name", False),
        ("../org/name", False),
        ("/org/name", False),
        ("~/org/name", False),
        ("models/org/name", False),
        ("org/", False),
        ("../..", False),
        ("org/..", False),
        ("org/../../x", False),
        ("org/name@../../x", False),
        ("org/name@main/../../x", False),
        ("org\0/name", False),
        ("s3://org/name", False),
    ],
)
def test_what_reads_as_an_id(location: str, expected: bool) -> None:
    assert hub.is_id(location) is expected


def test_shards_in_folders_below(
    server: Hub, sources: dict[str, str], tiny_llama: Family, tmp_path: Path
) -> None:
    server.models["org/math"] = in_folders(Path(tiny_llama.task[0]), tmp_path / "own")
    assert examine(sources).error() is None
    assert "model.safetensors" not in server.sent or not list(
        Path(constants.HF_HUB_CACHE).glob("models--org--math/**/model.safetensors")
    )
    found, whole = fit(sources).sources["task/0"], Checkpoint.open(tiny_llama.task[0])
    assert len(list(found.path.glob("part/*/model.safetensors"))) == 2
    assert all(torch.equal(found.read(name), whole.read(name)) for name in whole.tensors)
