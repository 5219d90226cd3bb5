"""Families as people have them: what `search.check` says of each, a row for each.

`fits`: exit 0 and nothing to be known; `told`: exit 0, and the words are said; `refused`: another
exit, and the words are said. Each row changes a copy of the demo's base, math and Telugu experts.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from search import check
from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.compatibility import look_at, look_at_base, one_head
from search.checkpoints.family import Family, fit
from search.checkpoints.tokenizer import parse
from search.common.errors import CheckpointError, ExpertMismatchError
from tests.search.checkpoints.adapters import PREFIX, Q, pair, write_adapter

EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
INDEX = "model.safetensors.index.json"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}


@dataclass(frozen=True)
class Places:
    """The folders of one family."""

    base: Path
    math: Path
    te: Path

    @property
    def all(self) -> tuple[Path, ...]:
        return self.base, self.math, self.te


Change = Callable[[Places], None]


def config(where: str, **changes: Any) -> Change:
    """Set entries of config.json, or remove those that are `...`, in some of the folders."""

    def change(places: Places) -> None:
        for name in where.split():
            file = getattr(places, name) / "config.json"
            data = json.loads(file.read_text()) | changes
            file.write_text(json.dumps({k: v for k, v in data.items() if v is not ...}))

    return change


def tokenizer(where: str, edit: Callable[[dict[str, Any]], Any]) -> Change:
    def change(places: Places) -> None:
        for name in where.split():
            file = getattr(places, name) / "tokenizer.json"
            data = json.loads(file.read_text(encoding="utf-8"))
            edit(data)
            file.write_text(json.dumps(data), encoding="utf-8")

    return change


def tensors(folder: Path, **changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """Change a folder's tensors, or remove them by None; what it holds then."""
    found = load_file(folder / "model.safetensors")
    found |= {k: v for k, v in changes.items() if v is not None}
    found = {k: v for k, v in found.items() if changes.get(k, v) is not None}
    save_file(found, folder / "model.safetensors")
    return found


def rows(where: str, embeddings: int, head: int) -> Change:
    """Give a member so many rows of each; config.json says the first."""

    def change(places: Places) -> None:
        folder = getattr(places, where)
        known = load_file(folder / "model.safetensors")
        sizes = {EMBED: embeddings, HEAD: head}
        tensors(folder, **{n: torch.cat([known[n], known[n]])[:size] for n, size in sizes.items()})
        config(where, vocab_size=embeddings)(places)

    return change


def tied(*heads: str) -> Change:
    """All three tied; of those that are named, the head is kept: a copy, or `other`."""

    def change(places: Places) -> None:
        config("base math te", tie_word_embeddings=True)(places)
        for name, folder in zip(("base", "math", "te"), places.all, strict=True):
            embeddings = load_file(folder / "model.safetensors")[EMBED]
            if f"{name}=other" in heads:
                continue
            tensors(folder, **{HEAD: embeddings.clone() if f"{name}=copy" in heads else None})

    return change


def adapter(
    whole: dict[str, float] | None = None, lora: str = Q(0), rows: int = 0, **settings: Any
) -> Change:
    """The math expert as an adapter: LoRA on a matrix, and tensors of the base's plus a number.

    `rows` more of them.
    """

    def change(places: Places) -> None:
        known = load_file(places.base / "model.safetensors")
        known.setdefault(HEAD, known[EMBED])
        shutil.rmtree(places.math)
        found = {f"{PREFIX}{name}": known[name] + by for name, by in (whole or {}).items()}
        found = {name: torch.cat([t, t[:rows]]) for name, t in found.items()}
        shape = known[f"{lora}.weight"].shape
        found |= pair(lora, int(shape[0]), int(shape[1]))
        write_adapter(places.math, found, **settings)

    return change


def write(where: str, name: str, data: Any) -> Change:
    """Write a file: bytes, text, JSON, or tensors."""

    def change(places: Places) -> None:
        file = getattr(places, where) / name
        if isinstance(data, bytes):
            file.write_bytes(data)
        elif name.endswith(".safetensors") and isinstance(data, dict):
            save_file(data, file)
        else:
            file.write_text(data if isinstance(data, str) else json.dumps(data))

    return change


def pickled(name: str, source: str) -> Change:
    def change(places: Places) -> None:
        torch.save(load_file(places.math / source), places.math / name)
        (places.math / source).unlink()

    return change


def both(*changes: Change) -> Change:
    def change(places: Places) -> None:
        for step in changes:
            step(places)

    return change


def added(content: str, row: int, **flags: bool) -> dict[str, Any]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": row, "content": content, "special": True, **plain, **flags}


def swap(data: dict[str, Any]) -> None:
    vocab = data["model"]["vocab"]
    vocab[200], vocab[201] = vocab[201], vocab[200]


MORE = [added(f"<|{row}|>", row) for row in range(274, 281)]
MISTRAL = config("base math te", model_type="mistral", architectures=["MistralForCausalLM"])
GRANITE = config("base math te", model_type="granite", architectures=["GraniteForCausalLM"])
V_HEAD = {"v_head.summary.weight": torch.zeros(1, 96)}

ROWS: dict[str, list[tuple[Change, str]]] = {
    "rope": [
        (config("math", rope_theta=..., rope_parameters={"rope_theta": 1e4}), "fits"),
        (config("math", rope_theta=...), "fits"),
        (config("base", rope_theta=5e5), "refused rope_theta 10000.0, base has 500000.0"),
        (config("te", rope_scaling=YARN), "refused rope_parameters.rope_type yarn, base has def"),
        (config("te", rope_scaling={"rope_type": "default"}), "fits"),
        (
            both(
                config("base math te", rope_scaling=YARN),
                config("te", rope_scaling={**YARN, "original_max_position_embeddings": 64}),
            ),
            "refused rope_parameters.original_max_position_embeddings 64, base has 128",
        ),
        (config("base math te", rope_scaling=YARN), "fits"),
    ],
    "what else computes": [
        (both(MISTRAL, config("math", sliding_window=4096)), "fits"),
        (both(MISTRAL, config("math", sliding_window=None)), "refused sliding_window None"),
        (both(GRANITE, config("te", logits_scaling=8.0)), "refused logits_scaling 8.0"),
        (both(GRANITE, config("te", residual_multiplier=1.0)), "fits"),
        (config("math", hidden_act="gelu"), "refused hidden_act gelu"),
        (config("math", head_dim=None, hidden_act="swish"), "fits"),
        (config("math", quantization_config=None, auto_map=None), "fits"),
        (config("base", quantization_config=None, text_config=None), "fits"),
        (
            config("math", max_position_embeddings=1024),
            "told max_position_embeddings 1024",
        ),
        (
            config("math", attention_dropout=0.1, transformers_version="4", dtype="float32"),
            "fits",
        ),
        (config("math", hidden_act=7), "refused LlamaConfig does not take its config.json"),
        (
            config("base math te", model_type="ours"),
            "told 'ours', which transformers does",
        ),
    ],
    "tokenizers": [
        (tokenizer("math", lambda d: d.update(truncation={"max_length": 9})), "fits"),
        (tokenizer("math", lambda d: d.update(decoder=None)), "fits"),
        (tokenizer("math", lambda d: d.update(normalizer={"type": "NFKC"})), "refused normalizer"),
        (tokenizer("math", lambda d: d["pre_tokenizer"].update(split=False)), "refused pre_token"),
        (tokenizer("math", lambda d: d.update(post_processor=None)), "refused post_processor"),
        (tokenizer("math", swap), "refused 2 pieces have other numbers"),
        (tokenizer("math", lambda d: d["model"]["vocab"].pop()), "refused lacks pieces"),
        (
            tokenizer("math", lambda d: d["added_tokens"][2].update(lstrip=True)),
            "refused '</s>' is added with lstrip",
        ),
        (
            tokenizer("math te", lambda d: d["added_tokens"].append(added("<|a|>", 275))),
            "told <|a|> (row 275)",
        ),
        (
            tokenizer("base", lambda d: d["added_tokens"].append(added("<|b|>", 279))),
            "told does not know 1 token of the base: <|b|> (row 279)",
        ),
        (
            tokenizer("math", lambda d: d["added_tokens"].append(added("<|c|>", 280))),
            "refused has 280 rows of embeddings, and its tokens are numbered up to 280",
        ),
        (write("math", "tokenizer.json", POINTER), "refused git lfs pull"),
    ],
    "rows": [
        (rows("math", 288, 288), "told has 288 rows of embeddings, base has 280: the first 280"),
        (rows("base", 288, 288), "told has 280 rows of embeddings, base has 288"),
        (rows("math", 280, 288), "refused differs in shape in 1 tensor: lm_head.weight 288x96"),
        (config("math", vocab_size=300), "told has vocab_size 300 in config.json, and 280 rows"),
        (config("base", vocab_size=300), "refused has vocab_size 300 in config.json, and 280 rows"),
        # Gemma 3's own tokenizer numbers a token that its embeddings have no row for
        (
            tokenizer("base math te", lambda d: d["added_tokens"].extend(MORE)),
            "fits",
        ),
        (
            adapter({EMBED: 0.5, HEAD: 0.5}, rows=8),
            "told holds 288 rows of embeddings, base has 280: the first 280 are merged",
        ),
    ],
    "tied embeddings": [
        (tied(), "fits"),
        (tied("math=copy", "base=copy"), "fits"),
        (both(tied("math=copy"), config("math", tie_word_embeddings=False)), "fits"),
        (tied("base=other"), "refused lm_head.weight of its own, which differs from model.embed"),
        (tied("math=other"), "refused lm_head.weight of its own"),
        (
            both(tied("math=other"), config("math", tie_word_embeddings=False)),
            "refused lm_head.weight of its own",
        ),
        (config("math", tie_word_embeddings=...), "fits"),
        (
            both(tied(), config("base math te", tie_word_embeddings=...)),
            "refused no lm_head.weight",
        ),
        (both(tied(), adapter({EMBED: 0.5, HEAD: 0.5})), "fits"),
        (both(tied(), adapter({EMBED: 0.0})), "fits"),
        (both(tied(), adapter({EMBED: 0.5})), "refused ensure_weight_tying=True"),
        (both(tied(), adapter({HEAD: 0.5})), "refused lm_head.weight"),
        (both(tied(), adapter({EMBED: 0.5, HEAD: 0.25})), "refused a tied model cannot hold one"),
        (both(tied(), adapter(lora="model.embed_tokens")), "refused LoRA matrices on model.embed"),
        (adapter({EMBED: 0.5}), "fits"),
    ],
    "files": [
        (write("math", "value_head.safetensors", V_HEAD), "told value_head.safetensors beside"),
        (write("base", "consolidated.safetensors", V_HEAD), "told consolidated.safetensors beside"),
        (write("te", "adapter_config.json", {}), "told adapter_config.json beside the model"),
        (write("math", INDEX, {"weight_map": {"a": "model-1.safetensors"}}), "told is left alone"),
        (write("math", INDEX, {"weight_map": {"a": "model.safetensors"}}), "refused that no shard"),
        (write("math", INDEX, {"weight_map": ["a"]}), "refused no weight_map"),
        (write("math", INDEX, []), "refused must hold a JSON object, not []"),
        (write("math", "config.json", b"\xef\xbb\xbf{}"), "refused BOM"),
        (write("math", "model.safetensors", POINTER), "refused is a Git LFS pointer"),
        (write("math", "config.json", POINTER), "refused is a Git LFS pointer"),
        (pickled("pytorch_model.bin", "model.safetensors"), "refused allow_bin: true"),
        (
            both(adapter(), pickled("adapter_model.bin", "adapter_model.safetensors")),
            "refused allow_bin: true",
        ),
        (
            both(adapter(), write("math", "adapter_model.safetensors", POINTER)),
            "refused is a Git LFS pointer",
        ),
    ],
}


def family(tmp_path: Path, demo: Family, change: Change) -> Places:
    sources = {"base": demo.base, "math": demo.task[0], "te": demo.language["te"][0]}
    for name, source in sources.items():
        shutil.copytree(Path(source), tmp_path / name)
    places = Places(*(tmp_path / name for name in sources))
    change(places)
    return places


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(*row, id=f"{kind} {place}")
        for kind, rows in ROWS.items()
        for place, row in enumerate(rows)
    ],
)
def test_what_is_said_of_a_family(
    demo_family: Family,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Change,
    expected: str,
) -> None:
    family(tmp_path, demo_family, change)
    file = tmp_path / "family.yaml"
    data = {"name": "x", "base": "base", "task": ["math"], "language": {"te": ["te"]}}
    file.write_text(yaml.safe_dump(data))
    status = check.main([f"family={file}"])
    captured = capsys.readouterr()
    said = re.sub(r"\s+", " ", captured.out + captured.err)
    kind, _, words = expected.partition(" ")
    assert (status == 0) is (kind in ("fits", "told")), said
    assert ("note: " in said) is (kind == "told") or kind == "refused"
    assert words in said


@pytest.mark.parametrize("copies", [(), ("math=copy", "base=copy")])
def test_equal_copies_are_one_tensor(
    demo_family: Family, tmp_path: Path, copies: tuple[str, ...]
) -> None:
    places = family(tmp_path, demo_family, tied(*copies))
    found = fit({"base": places.base, "task/0": places.math, "lang/0": places.te})
    assert HEAD not in found.names
    for name, checkpoint in found.sources.items():
        assert HEAD not in checkpoint.tensors, name


def test_a_head_that_is_fetched_later_is_looked_at_then(
    demo_family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of weights at a URL only headers are examined."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    places = family(tmp_path, demo_family, tied("te=other"))
    with pytest.raises(ExpertMismatchError, match=r"lang/0 \(file://.*has lm_head.weight of its"):
        fit({"base": places.base, "lang/0": f"file://{places.te}"})


def test_layers_that_nobody_can_count(demo_family: Family, tmp_path: Path) -> None:
    """A number too large to be counted up to is no reason to wait."""
    opened = Checkpoint.open(family(tmp_path, demo_family, config("base")).base)
    opened.config["num_hidden_layers"] = 10**30  # type: ignore[index]
    with pytest.raises(CheckpointError, match="has num_hidden_layers 1000"):
        look_at_base(opened)
    opened.config["num_hidden_layers"] = True  # type: ignore[index]
    with pytest.raises(CheckpointError, match="has no num_hidden_layers"):
        look_at_base(opened)


def test_an_expert_of_another_model_is_told_once(demo_family: Family, tmp_path: Path) -> None:
    """Its settings are those of another class: they are not compared."""
    places = family(tmp_path, demo_family, config("math", model_type="qwen2", attention_bias=True))
    base, expert = Checkpoint.open(places.base), Checkpoint.open(places.math)
    assert look_at(base, expert, parse).faults == ["has model_type qwen2, base has llama"]
    assert one_head(expert, base) is expert
