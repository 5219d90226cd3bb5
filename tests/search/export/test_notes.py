"""The text files of an export: what they say of checkpoints, and that they can be used again."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import Family, FittedFamily, fit
from search.common.errors import CheckpointError
from search.export import __main__ as export
from search.export.model_card import Merge
from search.export.notes import bytes_to_hash, for_mergekit, notes, parts_of, used
from search.merging.plan import plan
from search.merging.recipe import LayerSwap, Recipe, Single, Ties, from_dict, key
from tests.families import apart
from tests.search.checkpoints.adapters import pair, write_adapter
from tests.search.export.studies import BEST, WORDS, L


def test_models_of_the_hub_are_named_by_id_and_commit(
    family_file: Path, tiny_llama: Family, tmp_path: Path
) -> None:
    """In its cache, files are links to blobs, which are named by their hash: none is read."""
    commit, digest = "c" * 40, "d" * 64
    model = tmp_path / "models--org--math"
    shutil.copytree(tiny_llama.task[0], model / "snapshots" / commit)
    (model / "blobs").mkdir()
    weights = model / "snapshots" / commit / "model.safetensors"
    weights.rename(model / "blobs" / digest)
    weights.symlink_to(model / "blobs" / digest)
    (weights.parent / "README.md").write_text("---\nlicense: mit\n---\n")
    data = yaml.safe_load(family_file.read_text()) | {"task": [str(weights.parent)]}
    (tmp_path / "hub.yaml").write_text(yaml.safe_dump(data))
    family = ["--family", str(tmp_path / "hub.yaml"), "--lang", "te", "--recipe", WORDS]
    assert export.main([*family, "--out", str(tmp_path / "out")]) == 0
    parts = json.loads((tmp_path / "out" / "recipe.json").read_text())["checkpoints"]
    told = {"model": "org/math", "revision": f"org/math@{commit}", "licence": "mit"}
    assert parts[1] == {"source": "task/0", **told, "files": {"model.safetensors": digest}}
    assert f"model: org/math@{commit}" in (tmp_path / "out" / "mergekit.yaml").read_text()


@pytest.fixture
def fitted(tiny_llama: Family) -> FittedFamily:
    return fit(tiny_llama.sources("te"), check_finite=False)


def merged(fitted: FittedFamily, recipe: Recipe) -> Merge:
    made = plan(recipe, fitted.names, L)
    parts, known = parts_of(fitted, made), for_mergekit(fitted, made)
    return Merge("out", "tiny", "te", recipe, L, made, parts, mergekit=known)


def test_only_what_weights_are_taken_from_is_hashed(fitted: FittedFamily) -> None:
    made = plan(BEST, fitted.names, L)
    told: list[int] = []
    parts = {part.source: part.files for part in parts_of(fitted, made, told.append)}
    assert used(made) == {"task/0", "lang/1"} and list(parts) == list(fitted.sources)
    for source, files in parts.items():
        file = fitted.sources[source].path / "model.safetensors"
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert files == ({file.name: digest} if source in used(made) else {})
    assert sum(told) == bytes_to_hash(fitted, made) > 0


@pytest.mark.parametrize(
    ("folder", "name", "known"),
    [
        ("blobs", "d" * 64, True),
        ("blobs", "d" * 40, False),  # git's hash of a small file
        ("other", "d" * 64, False),
    ],
)
def test_a_name_of_the_hubs_cache_is_the_hash(
    tiny_llama: Family, tmp_path: Path, folder: str, name: str, known: bool
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_llama.base, model)
    (tmp_path / folder).mkdir()
    (model / "model.safetensors").rename(tmp_path / folder / name)
    (model / "model.safetensors").symlink_to(tmp_path / folder / name)
    found = fit({"base": model}, check_finite=False)
    made = plan(Single("base"), found.names, L)
    (part,) = parts_of(found, made)
    assert (part.files["model.safetensors"] == name) is known
    assert (bytes_to_hash(found, made) == 0) is known


def test_a_file_that_is_gone_is_named(tiny_llama: Family, tmp_path: Path) -> None:
    shutil.copytree(tiny_llama.base, tmp_path / "model")
    found = fit({"base": tmp_path / "model"}, check_finite=False)
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model/model.safetensors cannot be read: "):
        parts_of(found, plan(Single("base"), found.names, L))


@pytest.mark.parametrize(
    ("recipe", "mergekit"),
    [(BEST, True), (Ties(("task/0",), 0.5, (1.0,)), True), (Single("task/0"), True)],
)
def test_files(fitted: FittedFamily, tiny_llama: Family, recipe: Recipe, mergekit: bool) -> None:
    files = notes(merged(fitted, recipe), tiny_llama, fitted)
    wanted = {"README.md", "recipe.json", "family.yaml"} | (
        {"mergekit.yaml"} if mergekit else set()
    )
    assert set(files) == wanted
    said = json.loads(files["recipe.json"])
    assert from_dict(said["recipe"]) == recipe and said["key"] == key(recipe, L)
    assert (said["family"], said["lang"], said["study"]) == ("tiny", "te", "")


def test_the_family_can_be_loaded_again(
    fitted: FittedFamily, tiny_llama: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative folders become absolute, a reference stays one, other languages are left out."""
    monkeypatch.chdir(Path(tiny_llama.base).parent)
    relative = {"joint": Path(Path(tiny_llama.task[1]).name)}
    family = replace(tiny_llama, references=relative, allow_bin=True)
    data = yaml.safe_load(notes(merged(fitted, BEST), family, fitted)["family.yaml"])
    assert data == {
        "name": tiny_llama.name,
        "base": str(tiny_llama.base),
        "task": [str(place) for place in tiny_llama.task],
        "language": {"te": [str(place) for place in tiny_llama.language["te"]]},
        "references": {"joint": str(tiny_llama.task[1])},
        "allow_bin": True,
    }
    again = Family(**data)
    assert list(again.sources("te")) == [*tiny_llama.sources("te"), "reference/joint"]


def test_an_adapter_is_named_and_not_what_was_made_of_it(
    tiny_llama: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its merge lies in our cache, which may be deleted."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    q_proj = "model.layers.0.self_attn.q_proj"
    shape = fit({"base": tiny_llama.base}).base.tensors[f"{q_proj}.weight"].shape
    adapter = write_adapter(tmp_path / "te+lora@2", pair(q_proj, *shape))
    family = replace(tiny_llama, language={"te": (adapter,)})
    found = fit(family.sources("te"), check_finite=False)
    files = notes(merged(found, LayerSwap(0, 0, 1, 1, 1, 0, 1 - 0.9, 0.9)), family, found)
    assert str(tmp_path / "cache") in found.paths["lang/0"]
    assert not [name for name, text in files.items() if str(tmp_path / "cache") in text]
    told = yaml.safe_load(files["mergekit.yaml"])["slices"][0]["sources"]
    base = {"path": found.paths["base"]}
    assert told[1]["model"] == {"model": base, "lora": {"path": str(adapter)}}
    assert "lang/0. mergekit wants them merged" in files["mergekit.yaml"]
    (part,) = [
        p for p in json.loads(files["recipe.json"])["checkpoints"] if p["source"] == "lang/0"
    ]
    assert part["model"] == "te+lora@2" and "base_model" not in files["README.md"]
    assert "| w_task | 0.1 |" in files["README.md"]


def test_what_the_export_did_not_open_keeps_its_place(
    fitted: FittedFamily, tiny_llama: Family
) -> None:
    """An expert of the hub that the merge does not need is not fetched to learn its commit."""
    family = replace(tiny_llama, task=(tiny_llama.task[0], "org/other@main"))
    opened: Any = {n: c for n, c in fitted.sources.items() if n in ("base", "task/0", "lang/1")}
    data = yaml.safe_load(
        notes(
            merged(replace(fitted, sources=opened), BEST), family, replace(fitted, sources=opened)
        )["family.yaml"]
    )
    assert data["task"] == [str(tiny_llama.task[0]), "org/other@main"]


def test_an_export_has_the_bases_shape_and_says_what_was_made_of_others(
    demo_family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An expert in float32, padded, with a token of its own and another context length."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    task = apart(Path(demo_family.task[0]), tmp_path / "task")
    config = json.loads((task / "config.json").read_text())
    (task / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1024}))
    file = tmp_path / "f.yaml"
    language = {"te": [str(demo_family.language["te"][0])]}
    family = {"name": "f", "base": str(demo_family.base), "task": [str(task)], "language": language}
    file.write_text(yaml.safe_dump(family))
    out = tmp_path / "out"
    told = [
        "--family",
        str(file),
        "--lang",
        "te",
        "--recipe",
        "pair=0,0 b=2 u=1",
        "--out",
        str(out),
    ]
    assert export.main(told) == 0
    base = Checkpoint.open(demo_family.base)
    merge = Checkpoint.open(out)
    assert {n: (i.dtype, i.shape) for n, i in merge.tensors.items()} == {
        n: (i.dtype, i.shape) for n, i in base.tensors.items()
    }
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        assert (out / name).read_bytes() == (base.path / name).read_bytes()
    assert not (out / "mergekit.yaml").exists()  # which would know nothing of the row
    card = (out / "README.md").read_text()
    for words in (
        "- task/0 has max_position_embeddings 1024 (base: 512): no matter; an export has the",
        "- task/0 has 296 rows of embeddings, base has 280: the first 280 are merged",
        "- task/0 has 93 tensors that are cast once, F32 to BF16",
        "- task/0 knows 1 token that the base does not: <|tool|> (row 274)",
        "- rows 274 of the embeddings, whose tokens no other of them knows, are those of task/0",
    ):
        assert words in card
