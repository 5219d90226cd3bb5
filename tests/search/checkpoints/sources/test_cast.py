"""An expert in its base's dtype and with its base's rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import Family, examine, fit
from search.checkpoints.sources.cast import like_base
from search.common.errors import ExpertMismatchError
from tests.families import apart

EMBED, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
Tensors = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def copy(
    source: object, place: Path, rows: int | None = None, dtype: torch.dtype | None = None
) -> Path:
    """A copy of an untied checkpoint with so many rows of embeddings, in another dtype."""
    shutil.copytree(str(source), place)
    tensors = load_file(place / "model.safetensors")
    for name in (EMBED, HEAD) if rows is not None else ():
        more = torch.full((max(0, (rows or 0) - len(tensors[name])), tensors[name].shape[1]), 7.0)
        tensors[name] = torch.cat([tensors[name][:rows], more.to(tensors[name].dtype)])
    tensors = {name: t.to(dtype or t.dtype) for name, t in tensors.items()}
    save_file(tensors, place / "model.safetensors")
    config = json.loads((place / "config.json").read_text())
    config["vocab_size"] = len(tensors[EMBED])
    (place / "config.json").write_text(json.dumps(config))
    return place


def test_an_expert_of_the_bases_kind_is_left_alone(demo_family: Family, own_cache: Path) -> None:
    family = fit({"base": demo_family.base, "task/0": demo_family.task[0]})
    assert family.paths["task/0"] == str(Path(demo_family.task[0]).resolve())
    assert family.notes == {} and not own_cache.exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_another_dtype_is_cast_once(
    demo_family: Family, tmp_path: Path, own_cache: Path, dtype: torch.dtype
) -> None:
    place = copy(demo_family.task[0], tmp_path / "expert", dtype=dtype)
    sources = {"base": demo_family.base, "task/0": place}
    (note,) = examine(sources).notes["task/0"]
    words = {torch.float32: "F32", torch.float16: "F16", torch.float64: "F64"}
    assert note == f"has 93 tensors that are cast once, {words[dtype]} to BF16"
    assert not own_cache.exists()  # examined by headers
    family = fit(sources)
    made, own = family.sources["task/0"], load_file(place / "model.safetensors")
    assert {info.dtype for info in made.tensors.values()} == {"BF16"}
    assert all(torch.equal(made.read(n), own[n].bfloat16()) for n in family.names)
    (folder,) = own_cache.rglob("model.safetensors.index.json")
    state = folder.stat().st_mtime_ns
    assert fit(sources).paths == family.paths and folder.stat().st_mtime_ns == state
    assert family.revisions["task/0"] == "expert as BF16"


def test_more_rows_than_the_base_are_read_past(
    demo_family: Family, tmp_path: Path, own_cache: Path
) -> None:
    """Nothing is written: a public 8B expert that is padded needs no copy."""
    place = copy(demo_family.task[0], tmp_path / "expert", rows=320)
    sources = {"base": demo_family.base, "task/0": place}
    assert examine(sources).notes["task/0"] == [
        "has 320 rows of embeddings, base has 280: the first 280 are merged"
    ]
    made = fit(sources).sources["task/0"]
    own = load_file(Path(demo_family.task[0]) / "model.safetensors")
    for name in (EMBED, HEAD, NORM):
        assert made.read(name).shape == made.tensors[name].shape == own[name].shape
        assert torch.equal(made.read(name), own[name])
    assert not own_cache.exists()


def test_fewer_rows_than_the_base_are_filled_up(demo_family: Family, tmp_path: Path) -> None:
    place = copy(demo_family.task[0], tmp_path / "expert", rows=276)
    sources = {"base": demo_family.base, "task/0": place}
    assert examine(sources).notes["task/0"] == [
        "has 276 rows of embeddings, base has 280: of the others, the base's stand for it"
    ]
    family = fit(sources)
    base, made = family.base, family.sources["task/0"]
    own = load_file(place / "model.safetensors")
    for name in (EMBED, HEAD):
        assert torch.equal(made.read(name), torch.cat([own[name], base.read(name)[276:]]))


def test_rows_that_its_tokens_need(demo_family: Family, tmp_path: Path) -> None:
    place = copy(demo_family.task[0], tmp_path / "expert", rows=270)
    message = r"has 270 rows of embeddings, and its tokens are numbered up to 273"
    with pytest.raises(ExpertMismatchError, match=message):
        fit({"base": demo_family.base, "task/0": place})


def test_what_is_told_of_tokens(demo_family: Family, tmp_path: Path) -> None:
    places = {
        "base": demo_family.base,
        "task/0": apart(Path(demo_family.task[0]), tmp_path / "a"),
        "task/1": apart(Path(demo_family.task[1]), tmp_path / "b", token="<|other|>"),
        "lang/0": demo_family.language["te"][0],
    }
    found = examine(places)
    assert found.error() is None
    assert found.notes["task/0"][-1] == (
        "knows 1 token that the base does not: <|tool|> (row 274); a merge has the base's "
        "tokenizer, and in these rows what the one expert that knows them has"
    )
    family = found.fit()  # two tokens in one row: no one's alone, but in a merge without the other
    assert {row: set(who) for row, who in family.rows.known.items()} == {274: {"task/0", "task/1"}}
    assert family.rows.owned(["task/0", "task/1", "lang/0"]) == ()
    assert family.rows.owned(["task/0", "lang/0"]) == ((274, "task/0"),)
    # as the base of others it has a token that they lack
    found = examine({"base": places["task/0"], "task/1": demo_family.task[1]})
    (note,) = [n for n in found.notes["task/1"] if "does not know" in n]
    assert note.startswith("does not know 1 token of the base: <|tool|> (row 274)")
    assert dict(found.fit().rows.known) == {274: frozenset({"base"})}


def test_a_row_beyond_the_bases(demo_family: Family, tmp_path: Path) -> None:
    place = copy(demo_family.task[0], tmp_path / "expert", rows=320)
    data = json.loads((place / "tokenizer.json").read_text())
    data["added_tokens"].append(dict(data["added_tokens"][0], id=300, content="<|far|>"))
    (place / "tokenizer.json").write_text(json.dumps(data))
    found = examine({"base": demo_family.base, "task/0": place})
    assert found.notes["task/0"][-1] == "knows <|far|> (row 300) too: a merge has no rows for them"
    assert found.fit().rows.known == {}


def test_of_a_pickled_expert(demo_family: Family, tmp_path: Path) -> None:
    """What is derived already is cast as well."""
    place = copy(demo_family.task[0], tmp_path / "expert", dtype=torch.float32)
    own = load_file(place / "model.safetensors")
    torch.save(own, place / "pytorch_model.bin")
    (place / "model.safetensors").unlink()
    family = fit({"base": demo_family.base, "task/0": place}, allow_bin=True)
    assert torch.equal(family.sources["task/0"].read(NORM), own[NORM].bfloat16())


def test_the_key_follows_expert_and_base(demo_family: Family, tmp_path: Path) -> None:
    base = Checkpoint.open(demo_family.base)
    one, other = (
        like_base(Checkpoint.open(copy(task, tmp_path / f"{i}", dtype=torch.float32)), base).derived
        for i, task in enumerate(demo_family.task[:2])
    )
    assert one is not None and other is not None
    assert one.key() == one.key() != other.key()
