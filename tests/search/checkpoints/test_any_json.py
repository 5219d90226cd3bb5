"""Any JSON value in any place of a checkpoint's small files: one clear error, or none, never more.

What people's tools write is of every shape: null, a list, a number where a mapping belongs.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from safetensors.torch import load_file, save_file

from search import check
from search.checkpoints.family import Family, examine
from search.common.errors import SearchError
from tests.examples import examples
from tests.search.checkpoints.adapters import Q, pair, write_adapter

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**30, -(2**63), 10**400])
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["llama", "BPE", "Sequence", "ByteLevel", "yarn", "dynamic", "(", "*"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)

INDEX = "model.safetensors.index.json"
TOKENIZER = "tokenizer.json"
ROPE = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a JSON value, itself first; of a long list or mapping, the first few."""
    yield path
    if isinstance(data, dict):
        for key in list(data)[:40]:
            yield from places(data[key], (*path, key))
    elif isinstance(data, list):
        for number in range(min(2, len(data))):
            yield from places(data[number], (*path, number))


def put(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The same with another value in one place."""
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = put(copy[path[0]], path[1:], value)
    return copy


@pytest.fixture(scope="module")
def folders(demo_family: Family, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A family in two shards whose files say more than they need: base, expert, adapter."""
    root = tmp_path_factory.mktemp("any_json")
    tensors = list(load_file(Path(demo_family.base) / "model.safetensors").items())
    for name in ("base", "expert"):
        shutil.copytree(demo_family.base, root / name)
        (root / name / "model.safetensors").unlink()
        where = {}
        for number in (0, 1):
            file = f"model-0000{number + 1}-of-00002.safetensors"
            save_file({k: t.clone() for k, t in tensors[number::2]}, root / name / file)
            where |= {key: file for key, _ in tensors[number::2]}
        index = {"metadata": {"total_size": 5}, "weight_map": where}
        (root / name / INDEX).write_text(json.dumps(index))
        config = root / name / "config.json"
        more = {"rope_scaling": ROPE, "layer_types": ["full_attention"] * 10, "auto_map": {}}
        more |= {"vision_config": None, "quantization_config": None, "id2label": {"0": "a"}}
        config.write_text(json.dumps(json.loads(config.read_text()) | more))
        data = json.loads((root / name / TOKENIZER).read_text())
        data["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFC"}]}
        (root / name / TOKENIZER).write_text(json.dumps(data))
    bpe = root / "bpe"
    shutil.copytree(root / "expert", bpe)
    data["model"] = {
        "type": "BPE",
        "vocab": {"a": 0, "b": 1, "ab": 2},
        "merges": ["a b", ["a", "b"]],
    }
    (bpe / TOKENIZER).write_text(json.dumps(data))
    patterns = {"rank_pattern": {"q_proj": 4}, "alpha_pattern": {"q_proj": 2, "o_proj": 3}}
    more = {"modules_to_save": ["x"], "use_rslora": True, "base_model_name_or_path": "org/base"}
    write_adapter(root / "adapter", pair(Q(0), 96, 96), **patterns, **more)
    return {folder.name: folder for folder in root.iterdir()}


FILES = [
    ("base", "config.json"),
    ("base", INDEX),
    ("base", TOKENIZER),
    ("expert", "config.json"),
    ("expert", INDEX),
    ("expert", TOKENIZER),
    ("expert", "tokenizer_config.json"),
    ("bpe", TOKENIZER),
    ("adapter", "adapter_config.json"),
]


@pytest.mark.slow
@pytest.mark.parametrize("draws", [20, pytest.param(600, marks=pytest.mark.long)])
@pytest.mark.parametrize(("member", "name"), FILES)
def test_any_value_in_any_place(
    folders: dict[str, Path], member: str, name: str, draws: int
) -> None:
    file = folders[member] / name
    whole = file.read_bytes()
    data = json.loads(whole)
    spots = st.sampled_from(list(places(data)))
    sources = {"base": folders["base"]}
    sources["task/0"] = folders["expert" if member == "base" else member]

    @settings(max_examples=examples(draws))
    @given(spots, values)
    def run(spot: tuple[Any, ...], value: Any) -> None:
        file.write_text(json.dumps(put(data, spot, value)), encoding="utf-8")
        found = examine(sources)  # which raises nothing: what is raised is a fault of ours
        Console(file=io.StringIO()).print(check._table("x", found))
        assert len(str(found.error() or "")) < 5000
        if member != "adapter" or found.error():  # a merge for each drawn value takes too long
            with contextlib.suppress(SearchError):
                found.fit(check_finite=False)

    try:
        run()
    finally:
        file.write_bytes(whole)


def test_the_files_as_they_are_fit(folders: dict[str, Path]) -> None:
    """Without which the test above would prove little."""
    members = {"base": "base", "task/0": "expert", "task/1": "adapter"}
    assert examine({name: folders[member] for name, member in members.items()}).error() is None
