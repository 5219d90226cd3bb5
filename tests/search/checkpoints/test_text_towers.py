"""Text decoders saved alone beside multimodal models, and one decoder by names of several versions.

Of each multimodal architecture there is one family in four forms: as transformers 5 saves it, by
the names of transformers 4.52, and its text decoder alone. Whatever mix of them is given, plan and
merged weights are those of the family in one form.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import FittedFamily, examine, fit
from search.checkpoints.meaning import meaning
from search.checkpoints.meaning import text_alone as text_of
from search.checkpoints.towers import renamed
from search.common.errors import CheckpointError, ExpertMismatchError
from search.export.__main__ import main
from search.export.writer import write_export
from search.merging.recipe import LayerSwap, Recipe, Single, Soup, Ties
from tests.families import make_family, newer_names, text_alone
from tests.search.checkpoints.adapters import write_adapter

FORMS = ("whole", "newer", "text")
SOURCES = ("base", "task/0", "lang/0")
RECIPES: list[Recipe] = [
    LayerSwap(0, 0, 1, 1, 1, 0, 0.4, 0.6),
    Soup(("task/0", "lang/0"), (1.0, 2.0)),
    Ties(("task/0", "lang/0"), 0.5, (1.0, 1.0)),
    Single("lang/0"),
]
Sources = dict[str, Path]
Forms = dict[str, Sources]
"""Form -> source -> folder."""
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module", params=["gemma3", "gemma4", "mistral3", "qwen3_5"])
def forms(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Forms:
    folder = tmp_path_factory.mktemp(request.param)
    made = make_family(folder / "whole", request.param, task=1, lang=1)
    whole = {name: Path(place) for name, place in made.sources("te").items()}
    found: Forms = {form: {} for form in FORMS} | {"whole": whole}
    for name, place in whole.items():
        found["newer"][name] = newer_names(place, folder / "newer" / place.name)
        found["text"][name] = text_alone(place, folder / "text" / place.name)
    return found


def two_forms(folder: Path, architecture: str) -> Forms:
    """Base and task expert, whole and text."""
    made = make_family(folder / "whole", architecture, task=1, lang=0)
    whole = {"base": Path(made.base), "task/0": Path(made.task[0])}
    text = {n: text_alone(place, folder / f"text-{place.name}") for n, place in whole.items()}
    return {"whole": whole, "text": text}


@pytest.fixture(scope="module")
def mistral(tmp_path_factory: pytest.TempPathFactory) -> Forms:
    """Mistral 3 alone, whose head is its own."""
    return two_forms(tmp_path_factory.mktemp("mistral"), "mistral3")


def mixed(forms: Forms, *which: str) -> Sources:
    return {name: forms[form][name] for name, form in zip(SOURCES, which, strict=True)}


def export(family: FittedFamily, recipe: Recipe, out: Path) -> Tensors:
    write_export(family.plan(recipe), family.sources, family.base, out)
    return load_file(out / "model.safetensors")


def same(one: Tensors, other: Tensors) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize(
    ("name", "there"),
    [
        (f"{before}{part}", f"{other}{part}")
        for before, other in itertools.permutations(
            ("model.", "language_model.model.", "model.language_model."), 2
        )
        for part in ("layers.3.self_attn.q_proj.weight", "embed_tokens.weight", "norm.weight")
    ]
    + [
        ("lm_head.weight", "language_model.lm_head.weight"),
        ("language_model.lm_head.weight", "lm_head.weight"),
    ],
)
def test_names_of_one_decoder(name: str, there: str) -> None:
    assert renamed([name], [there]) == {name: there}
    assert renamed([name], [name]) == renamed([name, there], [there]) == {}


@pytest.mark.parametrize(
    "name",
    [
        *("vision_tower.encoder.layers.0.mlp.fc1.weight", "model.vision_tower.ln_pre.weight"),
        *("layers.0.mlp.up_proj.weight", "model.model.layers.0.mlp.up_proj.weight"),
        *("model.language_model.lm_head.weight", "gpt_neox.layers.0.mlp.up_proj.weight", "norm.x"),
    ],
)
def test_names_that_are_no_decoders(name: str) -> None:
    wanted = [f"model.{p}" for p in ("layers.0.mlp.up_proj.weight", "norm.x", "ln_pre.weight")]
    assert renamed([name], [*wanted, "lm_head.weight"]) == {}


@pytest.mark.parametrize("second", ["language_model.model", "model.language_model"])
def test_of_two_names_for_one_tensor_one_is_unknown(
    mistral: Forms, second: str, tmp_path: Path
) -> None:
    def twice(tensors: Tensors) -> None:
        tensors[f"{second}.norm.weight"] = tensors["model.norm.weight"] + 1

    expert = rewritten(mistral["text"]["task/0"], tmp_path / "twice", twice)
    for base in (mistral["text"]["base"], mistral["whole"]["base"]):
        with pytest.raises(ExpertMismatchError, match=r"has unknown 1 tensor: .*norm.weight"):
            examine({"base": base, "task/0": expert}).raise_faults()


@pytest.mark.slow
@pytest.mark.parametrize("base", FORMS)
@pytest.mark.parametrize("others", ["text newer", "whole text", "newer whole", "text text"])
def test_plan_and_weights_are_those_of_one_form(
    forms: Forms, base: str, others: str, tmp_path: Path
) -> None:
    family = fit(mixed(forms, base, *others.split()))
    alike = fit(forms[base])
    assert (family.names, family.n_layers) == (alike.names, alike.n_layers)
    for recipe in RECIPES:
        assert family.plan(recipe) == alike.plan(recipe)
    for name, checkpoint in family.sources.items():
        opened = Checkpoint.open(family.paths[name]).like(family.base)  # as an engine does
        for tensor in family.names:
            wanted = alike.sources[name].read(tensor)
            assert torch.equal(checkpoint.read(tensor), wanted)
            assert torch.equal(opened.read(tensor), wanted)
    same(
        export(family, RECIPES[0], tmp_path / "mixed"), export(alike, RECIPES[0], tmp_path / "one")
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_an_export_loads_as_the_bases_class(forms: Forms, form: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    family = fit(mixed(forms, form, "text", "newer"))
    export(family, RECIPES[0], out := tmp_path / "merged")
    kind = AutoModelForCausalLM if form == "text" else AutoModelForImageTextToText
    model, told = kind.from_pretrained(out, output_loading_info=True)
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    towers = [name for name, _ in model.named_parameters() if "vis" in name]
    assert bool(towers) == (form != "text")


def test_what_stands_beside_is_named(forms: Forms) -> None:
    found = examine(mixed(forms, "whole", "text", "newer"))
    found.raise_faults()
    (note,) = found.notes["task/0"]
    parts = f"({found.opened['base'].parts})"
    assert note == f"is the text tower only: vision tower from the base {parts}"
    assert "lang/0" not in found.notes
    found = examine(mixed(forms, "text", "whole", "newer"))
    found.raise_faults()
    for name in ("task/0", "lang/0"):
        (note,) = found.notes[name]
        left = f"has more than a text decoder {parts}: left alone, as the base has none"
        assert note == left
    assert "base" not in found.notes


def rewritten(source: Path, folder: Path, change: Callable[[Tensors], None]) -> Path:
    shutil.copytree(source, folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def reconfigured(source: Path, folder: Path, **entries: Any) -> Path:
    """A copy whose config.json says otherwise; None takes a setting out."""
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text()) | entries
    kept = {name: value for name, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))
    return folder


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Forms:
    """Gemma 3, whose head is tied."""
    return two_forms(tmp_path_factory.mktemp("gemma"), "gemma3")


@pytest.mark.parametrize("base", ["whole", "text"])
@pytest.mark.parametrize("expert", ["whole", "text"])
@pytest.mark.parametrize("head", ["lm_head.weight", "language_model.lm_head.weight"])
def test_a_tied_head_is_looked_at_by_any_name(
    gemma: Forms, base: str, expert: str, head: str, tmp_path: Path
) -> None:
    def copied(tensors: Tensors) -> None:
        (embeddings,) = (tensor for name, tensor in tensors.items() if "embed_tokens" in name)
        tensors[head] = embeddings.clone()

    def other(tensors: Tensors) -> None:
        copied(tensors)
        tensors[head] *= 2

    place = gemma[expert]["task/0"]
    alike = rewritten(place, tmp_path / "alike", copied)
    family = fit({"base": gemma[base]["base"], "task/0": alike})
    assert not any("lm_head" in name for name in family.names)
    differs = rewritten(place, tmp_path / "differs", other)
    with pytest.raises(ExpertMismatchError, match=f"has {head} of its own, which differs from"):
        fit({"base": gemma[base]["base"], "task/0": differs})


def test_a_head_that_is_needed(mistral: Forms, tmp_path: Path) -> None:
    def headless(tensors: Tensors) -> None:
        del tensors["lm_head.weight"]

    expert = rewritten(mistral["text"]["task/0"], tmp_path / "headless", headless)
    with pytest.raises(ExpertMismatchError, match=r"lacks 1 tensor: language_model.lm_head.weig"):
        examine({"base": mistral["whole"]["base"], "task/0": expert}).raise_faults()


OTHER = [
    ({"query_pre_attn_scalar": 64}, r"has query_pre_attn_scalar 64, base has 32: it computes"),
    ({"rope_parameters": None, "rope_theta": 5e5}, r"rope_theta 500000.0, base has 1000000.0"),
    ({"num_hidden_layers": 3, "layer_types": None}, r"has 3 layers, base has 4"),
    ({"architectures": ["Gemma3TextForSequenceClassification"]}, r"has architectures \['Gemma3Te"),
    ({"model_type": "gemma2"}, r"has model_type gemma2, base has gemma3_text in its text decoder"),
]


@pytest.mark.parametrize(("entries", "match"), OTHER, ids=[str(list(e)[0]) for e, _ in OTHER])
def test_settings_that_compute_otherwise(
    gemma: Forms, entries: dict[str, Any], match: str, tmp_path: Path
) -> None:
    wrong = reconfigured(gemma["text"]["task/0"], tmp_path / "wrong", **entries)
    with pytest.raises(ExpertMismatchError, match=match):
        examine({"base": gemma["whole"]["base"], "task/0": wrong}).raise_faults()


@pytest.mark.parametrize(
    "entries",
    [
        {"rope_parameters": None, "rope_theta": 1e6, "rope_local_base_freq": 10000},
        {"rms_norm_eps": None, "use_cache": False, "transformers_version": "4.50.0"},
        {"architectures": None, "dtype": None, "torch_dtype": "bfloat16"},
        {"text_config": None, "vision_config": None},
    ],
    ids=["rope", "defaults", "names", "nothing"],
)
def test_settings_by_other_spellings(gemma: Forms, entries: dict[str, Any], tmp_path: Path) -> None:
    same = reconfigured(gemma["text"]["task/0"], tmp_path / "same", **entries)
    examine({"base": gemma["whole"]["base"], "task/0": same}).raise_faults()


PUBLISHED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (  # Gemma 3 4B as published, its text decoder as transformers 4.50 saved it
        {
            "model_type": "gemma3",
            "text_config": {
                "hidden_size": 2560,
                "intermediate_size": 10240,
                "model_type": "gemma3_text",
                "num_hidden_layers": 34,
                "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
                "sliding_window": 1024,
            },
        },
        {
            "model_type": "gemma3_text",
            "head_dim": 256,
            "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "num_attention_heads": 8,
            "num_hidden_layers": 34,
            "num_key_value_heads": 4,
            "query_pre_attn_scalar": 256,
            "rms_norm_eps": 1e-06,
            "rope_local_base_freq": 10000.0,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "rope_theta": 1000000.0,
            "sliding_window": 1024,
            "sliding_window_pattern": 6,
            "vocab_size": 262208,
        },
    ),
    (  # Mistral Small 3.1 as published, its text decoder as transformers 5 saves it
        {
            "model_type": "mistral3",
            "text_config": {
                "head_dim": 128,
                "hidden_size": 5120,
                "intermediate_size": 32768,
                "max_position_embeddings": 131072,
                "model_type": "mistral",
                "num_attention_heads": 32,
                "num_hidden_layers": 40,
                "num_key_value_heads": 8,
                "rms_norm_eps": 1e-05,
                "rope_theta": 1000000000.0,
                "sliding_window": None,
                "vocab_size": 131072,
            },
        },
        {
            "model_type": "mistral",
            "head_dim": 128,
            "hidden_size": 5120,
            "intermediate_size": 32768,
            "max_position_embeddings": 131072,
            "num_attention_heads": 32,
            "num_hidden_layers": 40,
            "num_key_value_heads": 8,
            "rms_norm_eps": 1e-05,
            "rope_parameters": {"rope_theta": 1000000000.0, "rope_type": "default"},
            "sliding_window": None,
        },
    ),
]


@pytest.mark.parametrize(("whole", "text"), PUBLISHED, ids=["gemma3", "mistral3"])
def test_published_settings(whole: dict[str, Any], text: dict[str, Any]) -> None:
    wanted = meaning(text_of(whole)).computes
    assert meaning(text).computes == wanted
    for name, other in (("rms_norm_eps", 1e-4), ("rope_theta", 5e5), ("sliding_window", 256)):
        wrong = {n: v for n, v in text.items() if n != "rope_parameters"} | {name: other}
        assert meaning(wrong).computes != wanted, name


@pytest.mark.parametrize(
    ("kind", "inner", "name"),
    [
        *(("gemma3", {}, "Gemma3ForCausalLM"), ("mistral3", {}, "MistralForCausalLM")),
        ("mistral3", {"model_type": "ministral3"}, "Ministral3ForCausalLM"),
        *(("nobody_knows", {}, None), ("gemma3", {"model_type": ["list"]}, None)),
    ],
)
def test_class_of_a_text_decoder(kind: str, inner: dict[str, Any], name: str | None) -> None:
    found = text_of({"model_type": kind, "text_config": {"hidden_size": 4, **inner}})
    assert found["architectures"] == [name] and found["hidden_size"] == 4


def test_other_towers_of_a_text_model(gemma: Forms, tmp_path: Path) -> None:
    """Of a text model's file that holds towers all the same it is not known what it is."""

    def towers(tensors: Tensors) -> None:
        tensors["vision_tower.ln.weight"] = torch.ones(4)

    expert = rewritten(gemma["text"]["task/0"], tmp_path / "odd", towers)
    with pytest.raises(ExpertMismatchError, match=r"has unknown 1 tensor: vision_tower.ln"):
        examine({"base": gemma["whole"]["base"], "task/0": expert}).raise_faults()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["float32", "pickled", "pickled float32"])
@pytest.mark.parametrize("base", ["whole", "text"])
@pytest.mark.parametrize("expert", ["whole", "text"])
def test_cast_and_pickled_experts(
    gemma: Forms, how: str, base: str, expert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What our cache keeps serves both kinds of base."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "expert"
    shutil.copytree(gemma[expert]["task/0"], folder)
    tensors = load_file(folder / "model.safetensors")
    if "float32" in how:
        tensors = {name: tensor.float() for name, tensor in tensors.items()}
    (folder / "model.safetensors").unlink()
    if "pickled" in how:
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        save_file(tensors, folder / "model.safetensors")
    for kind in (base, "text" if base == "whole" else "whole"):
        family = fit({"base": gemma[kind]["base"], "task/0": folder}, allow_bin=True)
        wanted = fit(gemma[kind]).sources["task/0"]
        reopened = Checkpoint.open(family.paths["task/0"]).like(family.base)
        for name in family.names:
            assert torch.equal(family.sources["task/0"].read(name), wanted.read(name))
            assert torch.equal(reopened.read(name), wanted.read(name))


@pytest.mark.parametrize("padded", ["embed_tokens.weight", "embed_tokens"])
def test_rows_of_the_embeddings_of_each_layer(padded: str, tmp_path: Path) -> None:
    """Gemma 4's second embedding has a row for each token too, whether it is padded or not."""

    def longer(tensors: Tensors) -> None:
        for name in [name for name in tensors if padded in name]:
            tensors[name] = torch.cat([tensors[name], torch.full_like(tensors[name][:16], 7.0)])

    made = make_family(tmp_path / "made", "gemma4_text", task=1, lang=0)
    expert = rewritten(Path(made.task[0]), tmp_path / "padded", longer)
    sizes = {"vocab_size": 274, "vocab_size_per_layer_input": 274}
    expert = reconfigured(expert, tmp_path / "said", **sizes)
    found = examine({"base": made.base, "task/0": expert})
    found.raise_faults()
    note = "has 274 rows of embeddings, base has 258: the first 258 are merged"
    assert found.notes["task/0"] == [note]
    family, plain = found.fit(), fit({"base": made.base, "task/0": made.task[0]})
    assert {"model.embed_tokens.weight", "model.embed_tokens_per_layer.weight"} == {
        name for name in family.names if family.base.rows_of(name)
    }
    for name in family.names:
        assert torch.equal(*(f.sources["task/0"].read(name) for f in (family, plain)))


MODULE = "layers.1.mlp.up_proj"  # 64 to 96 in both
NAMES = ("model.language_model.", "language_model.model.", "model.")
TOWER = {  # module -> its input and output
    "model.vision_tower.encoder.layers.0.self_attn.q_proj": (32, 32),
    "vision_tower.encoder.layers.0.mlp.fc1": (32, 64),
    "model.multi_modal_projector.linear_1": (32, 64),
    "model.visual.blocks.0.attn.proj": (32, 32),
    "audio_tower.layers.0.self_attn.q_proj": (32, 32),
    "model.embed_vision.embedding_projection": (32, 64),
}


def matrices(module: str, columns: int, rows: int) -> Iterator[tuple[str, torch.Tensor]]:
    random = torch.Generator().manual_seed(len(module))
    name = f"base_model.model.{module}.lora_"
    yield f"{name}A.weight", torch.randn(4, columns, generator=random) * 0.1
    yield f"{name}B.weight", torch.randn(rows, 4, generator=random) * 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_an_adapter_of_any_class_and_version(
    forms: Forms, form: str, name: str, tmp_path: Path
) -> None:
    found = dict(matrices(f"{name}{MODULE}", 64, 96))
    a, b = found.values()
    found[f"base_model.model.{name}norm.weight"] = torch.full((64,), 0.5)
    folder = write_adapter(tmp_path / "adapter", found, r=4, lora_alpha=8)
    family = fit({"base": forms[form]["base"], "task/0": folder})
    changed = {"layers.1.mlp.up_proj.weight": 1, "norm.weight": 1}
    for tensor in family.names:
        before, after = (family.sources[source].read(tensor) for source in ("base", "task/0"))
        inner = tensor.removeprefix("language_model.").removeprefix("model.")
        inner = inner.removeprefix("language_model.")
        if inner == f"{MODULE}.weight":
            assert torch.equal(after, (before.float() + 2 * (b @ a)).bfloat16())
        elif inner == "norm.weight":
            assert torch.equal(after, torch.full((64,), 0.5, dtype=torch.bfloat16))
        else:
            assert torch.equal(after, before)
        changed.pop(inner, None)
    assert not changed


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_an_adapter_that_changes_a_tower_too(forms: Forms, form: str, tmp_path: Path) -> None:
    """The towers are the base's, whatever changes them; PEFT's `q_proj` names theirs as well."""
    found = dict(matrices(f"model.language_model.{MODULE}", 64, 96))
    alone = write_adapter(tmp_path / "alone", found, r=4)
    towers = {k: t for module, sizes in TOWER.items() for k, t in matrices(module, *sizes)}
    both = write_adapter(tmp_path / "both", found | towers, r=4)
    checked = examine({"base": forms[form]["base"], "task/0": both})
    checked.raise_faults()
    note = "has 12 tensors for a vision tower or projector: left alone"
    assert checked.notes["task/0"] == [note]
    one, other = (fit({"base": forms[form]["base"], "task/0": at}) for at in (alone, both))
    for tensor in one.names:
        assert torch.equal(*(f.sources["task/0"].read(tensor) for f in (one, other)))


def test_an_adapter_of_a_tower_alone(gemma: Forms, tmp_path: Path) -> None:
    towers = {k: t for module, sizes in TOWER.items() for k, t in matrices(module, *sizes)}
    folder = write_adapter(tmp_path / "towers", towers, r=4)
    with pytest.raises(ExpertMismatchError, match="holds no LoRA matrices of the text decoder"):
        examine({"base": gemma["whole"]["base"], "task/0": folder}).raise_faults()


def test_an_adapter_by_two_names_of_one_module(gemma: Forms, tmp_path: Path) -> None:
    found = {k: t for n in NAMES[:2] for k, t in matrices(f"{n}{MODULE}", 64, 96)}
    folder = write_adapter(tmp_path / "adapter", found, r=4)
    with pytest.raises(CheckpointError, match=r"no model.language_model.layers.1.mlp.up_proj"):
        examine({"base": gemma["whole"]["base"], "task/0": folder}).raise_faults()


@pytest.mark.slow
@pytest.mark.parametrize("base", ["whole", "text"])
def test_an_export_from_the_command_line(
    mistral: Forms, base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Its card names what was left alone and loads it; mergekit takes no two classes."""
    families = {kind: {n: str(place) for n, place in mistral[kind].items()} for kind in mistral}
    family = {
        "name": "mixed",
        "base": families[base]["base"],
        "task": [families["text"]["task/0"]],
        "language": {"te": [families["whole"]["task/0"]]},
    }
    file, out = tmp_path / "family.yaml", tmp_path / "merged"
    file.write_text(json.dumps(family))
    asked = ["--family", str(file), "--lang", "te", "--recipe", "pair=0,0 b=1 u=1"]
    assert main([*asked, "--out", str(out)]) == 0, capsys.readouterr().err
    card = (out / "README.md").read_text()
    named = {"whole": "task/0 is the text tower only", "text": "lang/0 has more than a text decode"}
    assert f"- {named[base]}" in card
    assert not (out / "mergekit.yaml").exists() and "mergekit" not in card
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    exec(code, names := {"__name__": "card"})
    assert capsys.readouterr().out.startswith("2 + 3 =")
    assert type(names["model"]).__name__.startswith({"whole": "Mistral3", "text": "MistralF"}[base])
