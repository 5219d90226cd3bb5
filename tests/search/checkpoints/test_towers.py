"""Which tensors and settings are the text decoder's, on checkpoints that transformers writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import FittedFamily, examine, fit
from search.checkpoints.towers import is_carried, is_multimodal
from search.common.errors import ExpertMismatchError
from search.export.writer import write_export
from search.merging.plan import layer_of
from search.merging.recipe import LayerSwap
from tests.families import MULTIMODAL, make_family
from tests.search.checkpoints.adapters import write_adapter

TEXT = ("language_model.", "model.language_model.", "lm_head.")


@pytest.mark.parametrize(
    ("name", "carried"),
    [
        ("language_model.model.layers.0.mlp.up_proj.weight", False),
        ("model.language_model.embed_tokens.weight", False),
        ("language_model.lm_head.weight", False),
        ("lm_head.weight", False),
        ("model.layers.0.mlp.up_proj.weight", False),
        ("model.embed_tokens.weight", False),
        ("model.norm.weight", False),
        ("vision_tower.encoder.layers.0.mlp.fc1.weight", True),
        ("model.visual.blocks.0.attn.qkv.weight", True),
        ("model.vision_tower.encoder.layers.0.mlp.fc1.weight", True),
        ("multi_modal_projector.mm_input_projection_weight", True),
        ("mtp.layers.0.mlp.up_proj.weight", True),
    ],
)
def test_tensors_of_a_multimodal_model(name: str, carried: bool) -> None:
    assert is_carried(name, {"text_config": {}}) is carried


def test_tensors_of_a_text_model() -> None:
    assert not is_carried("model.layers.0.mlp.up_proj.weight", {})
    assert is_carried("mtp.layers.0.mlp.up_proj.weight", {})
    assert is_multimodal({"text_config": {}}) and not is_multimodal({"text_config": None})


@pytest.fixture(scope="module", params=sorted(MULTIMODAL))
def family(request: Any, tmp_path_factory: pytest.TempPathFactory) -> FittedFamily:
    folder = tmp_path_factory.mktemp(request.param)
    return fit(make_family(folder, request.param, task=1, lang=1).sources("te"))


def test_layers_are_the_text_decoders(family: FittedFamily) -> None:
    assert {layer_of(name) for name in family.names} == {None, 0, 1, 2, 3}
    assert family.n_layers == 4 and all(name.startswith(TEXT) for name in family.names)
    (note,) = family.notes["base"]
    assert f"has {len(family.base.carried)} tensors beside its text decoder" in note
    assert f"({family.base.parts})" in note
    assert family.base.parts in (
        "multi_modal_projector, vision_tower",
        "audio_tower, embed_audio, embed_vision, ... (1 more)",
        "visual",
    )


def test_an_export_is_the_whole_model(family: FittedFamily, tmp_path: Path) -> None:
    """Text as the recipe says, towers the base's to the bit, and transformers takes it all."""
    from transformers import AutoModelForImageTextToText

    out = tmp_path / "merged"
    recipe = LayerSwap(0, 0, 1, 1, 0, 0, 0.5, 0.5)
    write_export(family.plan(recipe), family.sources, family.base, out)
    merged = load_file(out / "model.safetensors")
    files = {name: load_file(c.path / "model.safetensors") for name, c in family.sources.items()}
    assert merged.keys() == files["base"].keys()
    for name, tensor in merged.items():
        source = "base" if is_carried(name, family.base.config) else "task/0"
        source = "lang/0" if source != "base" and layer_of(name) in (0, 3) else source
        if source == "base" or layer_of(name) is not None:
            assert torch.equal(tensor, files[source][name]), name
    assert any(not torch.equal(files["task/0"][n], files["base"][n]) for n in family.base.carried)
    _, told = AutoModelForImageTextToText.from_pretrained(out, output_loading_info=True)
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base and a task expert, to be changed in copies."""
    made = make_family(tmp_path_factory.mktemp("gemma3"), "gemma3", task=1, lang=0)
    return {"base": Path(made.base), "task/0": Path(made.task[0])}


def changed(source: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_text_settings_are_compared_by_meaning(gemma: dict[str, Path], tmp_path: Path) -> None:
    def older(config: dict[str, Any]) -> None:  # as transformers 4 wrote it, defaults left out
        text = config["text_config"]
        rope = text.pop("rope_parameters")
        text["rope_theta"] = rope["full_attention"]["rope_theta"]
        text["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        del text["rms_norm_eps"]

    def other(config: dict[str, Any]) -> None:
        config["text_config"]["query_pre_attn_scalar"] = 64

    same = changed(gemma["task/0"], tmp_path / "same", older)
    examine({**gemma, "task/0": same}).raise_faults()
    wrong = changed(gemma["task/0"], tmp_path / "wrong", other)
    with pytest.raises(ExpertMismatchError, match=r"has text_config.query_pre_attn_scalar 64"):
        examine({**gemma, "task/0": wrong}).raise_faults()


def test_an_expert_needs_no_towers(gemma: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(gemma["task/0"], folder)
    tensors = load_file(folder / "model.safetensors")
    text = {name: tensor for name, tensor in tensors.items() if name.startswith(TEXT)}
    save_file(text, folder / "model.safetensors")
    fitted = fit({**gemma, "task/0": folder})
    assert fitted.notes["task/0"][0].startswith("is the text tower only: vision tower from the ba")
    assert not fitted.sources["task/0"].carried and fitted.base.carried


def test_an_adapter_by_transformers_names(gemma: dict[str, Path], tmp_path: Path) -> None:
    """PEFT writes the names of the loaded modules, which are not those of Gemma 3's files."""
    module, a, b = "layers.1.mlp.up_proj", torch.randn(4, 64) * 0.1, torch.randn(96, 4) * 0.1
    name = f"base_model.model.model.language_model.{module}.lora_"
    adapter = {f"{name}A.weight": a, f"{name}B.weight": b}
    folder = write_adapter(tmp_path / "adapter", adapter, r=4, lora_alpha=8)
    fitted = fit({"base": gemma["base"], "task/0": folder})
    own = f"language_model.model.{module}.weight"
    expected = (fitted.base.read(own).float() + 2 * (b @ a)).bfloat16()
    assert torch.equal(fitted.sources["task/0"].read(own), expected)


def test_the_head_is_found_by_its_name() -> None:
    config = {"text_config": {"num_hidden_layers": 1, "tie_word_embeddings": False}}
    assert Checkpoint(Path(), config, {}).n_layers == 1
    assert not Checkpoint(Path(), config | {"tie_word_embeddings": True}, {}).tied
