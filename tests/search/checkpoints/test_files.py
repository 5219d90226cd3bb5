"""Which files of a folder are the model: one table, of names alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from search.checkpoints.files import (
    INDEX,
    choose,
    choose_of,
    is_adapter,
    is_inside,
    read_by_others,
    read_json,
)
from search.common.errors import CheckpointError, ConfigError

WHOLE = "model.safetensors"
PARTS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
ADAPTER = ["adapter_config.json", "adapter_model.safetensors"]
MAP = {"a": PARTS[0], "b": PARTS[1]}


@pytest.mark.parametrize(
    ("names", "index", "kind", "files", "note"),
    [
        ([WHOLE], None, "safetensors", [WHOLE], ""),
        ([WHOLE, "value_head.safetensors"], None, "safetensors", [WHOLE], "value_head.safetensors"),
        ([WHOLE, "consolidated.safetensors"], None, "safetensors", [WHOLE], "consolidated.safeten"),
        ([WHOLE, "scaler.safetensors"], None, "safetensors", [WHOLE], "scaler.safetensors beside"),
        ([WHOLE, *ADAPTER], None, "safetensors", [WHOLE], "adapter_model.safetensors, adapter_con"),
        ([WHOLE, "pytorch_model.bin"], None, "safetensors", [WHOLE], ""),
        (PARTS, MAP, "safetensors", PARTS, ""),
        ([*PARTS, "x.safetensors"], MAP, "safetensors", PARTS, "x.safetensors beside the model"),
        ([*PARTS, *ADAPTER], MAP, "safetensors", PARTS, "adapter_config.json beside the model"),
        # an index that is left from before
        ([WHOLE], MAP, "safetensors", [WHOLE], "index.json is left alone: it names other files"),
        ([WHOLE, *PARTS], MAP, "safetensors", [WHOLE], "model-00001-of-00002.safetensors, model-"),
        ([WHOLE], {"a": WHOLE}, "safetensors", [WHOLE], ""),
        (
            ["own.safetensors", "value_head.safetensors"],
            None,
            "safetensors",
            ["own.safetensors"],
            "v",
        ),
        (ADAPTER, None, "adapter", ADAPTER[1:], ""),
        ([ADAPTER[0], "adapter_model.bin"], None, "adapter", ["adapter_model.bin"], ""),
        (
            [*ADAPTER, "value_head.safetensors"],
            None,
            "adapter",
            ADAPTER[1:],
            "value_head.safetensors b",
        ),
        (["pytorch_model.bin", "value_head.safetensors"], None, "pickled", [], "value_head"),
        (
            ["pytorch_model.bin", *ADAPTER],
            None,
            "pickled",
            [],
            "adapter_model.safetens",
        ),
        (["consolidated.safetensors"], None, "", [], "consolidated.safetensors"),
        ([], None, "", [], ""),
    ],
)
def test_which_files_are_the_model(
    tmp_path: Path, names: list[str], index: dict | None, kind: str, files: list[str], note: str
) -> None:
    """The same of a folder and of a place that is known by its names."""
    data = json.dumps({"weight_map": index}).encode()
    for name in names:
        (tmp_path / name).touch()
    if index is not None:
        (tmp_path / INDEX).write_bytes(data)
        names = [*names, INDEX]
    found = choose(tmp_path)
    assert found == choose_of(str(tmp_path), names, lambda: data)
    assert (found.kind, list(found.files)) == (kind, files)
    said = "; ".join(found.notes)
    assert note in said if note else not said
    assert is_adapter(tmp_path) is (kind == "adapter")


@pytest.mark.parametrize(
    ("names", "index", "message"),
    [
        (PARTS[:1], MAP, r"names 2 shards, missing: model-00002-of-00002.safetensors"),
        (PARTS, None, "holds 2 safetensors files but no model.safetensors.index.json"),
        ([WHOLE], {}, "names 0 shards; remove it"),
        ([WHOLE], None, "has no weight_map"),
        ([WHOLE], {"a": "../x.safetensors"}, "names '../x.safetensors', no file of its folder"),
    ],
)
def test_what_cannot_be_told(names: list[str], index: dict | None, message: str) -> None:
    broken = index is None and WHOLE in names
    names = names if index is None and not broken else [*names, INDEX]
    with pytest.raises(CheckpointError, match=message):
        choose_of("place", names, lambda: json.dumps({"weight_map": index}).encode())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xef\xbb\xbf{}", "cannot be read: .*BOM"),
        (b"\xff", "cannot be read: .*codec"),
        (b"null", "must hold a JSON object, not None"),
        (b"[1]", r"must hold a JSON object, not \[1\]"),
        (b'{"a": NaN}', "cannot be read: NaN is no JSON"),
        (b'{"a": ' + b"1" * 5000 + b"}", "cannot be read: Exceeds the limit"),
        (b'{"a": ' + b"[" * 100_000, "cannot be read: it is nested too deeply"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
    ],
)
def test_json_of_another_shape(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(CheckpointError, match=f"config.json {message}"):
        read_json(tmp_path / "config.json", "")


def test_infinity_is_read(tmp_path: Path) -> None:
    """As Mamba's published configurations have it."""
    (tmp_path / "config.json").write_text('{"a": [0.0, Infinity]}')
    assert read_json(tmp_path / "config.json", "") == {"a": [0.0, float("inf")]}


@pytest.mark.parametrize(
    "name",
    [
        *("../x.safetensors", "/etc/x.safetensors", "a/../../x.safetensors", "", "a//b", "./a"),
        *("C:x.safetensors", "C:/x.safetensors", "..\\x.safetensors", "a/\\\\host/x", "a\0b"),
    ],
)
def test_an_index_names_what_is_in_its_folder_or_below(tmp_path: Path, name: str) -> None:
    assert not is_inside(name)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(CheckpointError, match=r"index.json names .*, no file of its folder"):
        choose(tmp_path)


def test_shards_in_folders_below(tmp_path: Path) -> None:
    names = ["a..b/x..safetensors", "c/d/y.safetensors"]
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": dict(zip("ab", names, strict=True))}))
    with pytest.raises(CheckpointError, match=r"names 2 shards, missing: a\.\.b/x"):
        choose(tmp_path)
    for name in (*names, "onnx/model.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert choose(tmp_path).files == tuple(names)
    there = [INDEX, *names, "onnx/model.safetensors", "pytorch_model/x.bin"]
    found = choose_of("place", there, (tmp_path / INDEX).read_bytes)
    assert found.files == tuple(names) and found.notes == ()


def test_whatever_a_library_raises_is_one_error() -> None:
    class PanicException(BaseException):
        """As Rust libraries raise it."""

    for kind in (PanicException, MemoryError, RecursionError, AssertionError):
        with pytest.raises(CheckpointError, match=rf"x cannot be read \({kind.__name__}: why\)"):
            with read_by_others("x"):
                raise kind("why")
    for kind in (KeyboardInterrupt, SystemExit, ConfigError):
        with pytest.raises(kind), read_by_others("x"):
            raise kind("why")
