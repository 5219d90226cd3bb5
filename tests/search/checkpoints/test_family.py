"""Checkpoints that cannot be opened and experts that do not fit: one error, everything in it."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from search.checkpoints.architectures import RECURRENT
from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import Family, examine, fit
from search.common.errors import CheckpointError, ConfigError, ExpertMismatchError
from search.export.writer import write_export
from search.merging.arithmetic import combine
from search.merging.plan import Mix, Term, plan
from search.merging.recipe import LayerSwap, Single

Edit = Callable[[Path], None]


@pytest.fixture
def family(tiny_llama: Family, tmp_path: Path) -> dict[str, Path]:
    """A copy of the tiny family's Telugu sources that a test may damage."""
    copied = {}
    for name, path in tiny_llama.sources("te").items():
        copied[name] = tmp_path / path.name
        shutil.copytree(path, copied[name])
    return copied


def edit_config(**changes: object) -> Edit:
    def edit(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return edit


def edit_tensors(change: Callable[[dict[str, torch.Tensor]], None]) -> Edit:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return edit


NORM = "model.norm.weight"
EMBED = "model.embed_tokens.weight"


def _poison(tensors: dict[str, torch.Tensor]) -> None:
    tensors[NORM][3] = float("nan")


def _edit_vocabulary(folder: Path) -> None:
    file = folder / "tokenizer.json"
    data = json.loads(file.read_text())
    vocabulary = data["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    file.write_text(json.dumps(data))


def _truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _shard(folder: Path) -> None:
    index = {"weight_map": {NORM: "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _shard_alone(folder: Path) -> None:
    _shard(folder)
    (folder / "model.safetensors").rename(folder / "model-00002-of-00002.safetensors")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (edit_config(num_hidden_layers=5), r"lang/1 .*has 5 layers, base has 4 \(num_hidden"),
        (edit_config(tie_word_embeddings=True), r"has tie_word_embeddings True, base has False"),
        (edit_config(model_type="mistral"), r"has model_type mistral, base has llama"),
        (edit_tensors(lambda t: t.pop(NORM)), r"lacks 1 tensor: model.norm.weight"),
        (edit_tensors(lambda t: t.update(extra=t[NORM].clone())), r"has unknown 1 tensor: extra"),
        (
            edit_tensors(lambda t: t.update({NORM: t[NORM][:32].clone()})),
            r"differs in shape in 1 tensor: model.norm.weight 32 \(base: 64\)",
        ),
        (
            edit_tensors(lambda t: t.update({NORM: t[NORM].to(torch.int8)})),
            r"differs in dtype in 1 tensor: model.norm.weight I8 \(base: BF16\)",
        ),
        (_edit_vocabulary, r"has another tokenizer than the base"),
        (
            edit_config(rope_parameters={"rope_theta": 5}),
            r"has rope_parameters.rope_theta 5, base",
        ),
        (
            edit_config(rope_scaling={"factor": 2.0}),
            r"has rope_parameters.factor 2.0, base",
        ),
        (edit_config(num_attention_heads=4), r"has num_attention_heads 4, base has 2"),
    ],
)
def test_mismatch(family: dict[str, Path], edit: Edit, message: str) -> None:
    edit(family["lang/1"])
    with pytest.raises(ExpertMismatchError, match=message):
        fit(family)


def test_all_mismatches_at_once(family: dict[str, Path]) -> None:
    edit_config(num_hidden_layers=5)(family["lang/1"])
    _edit_vocabulary(family["task/0"])
    with pytest.raises(ExpertMismatchError, match=r"(?s)2 faults of experts.*task/0.*lang/1"):
        fit(family)


def test_what_cannot_be_opened_and_what_does_not_fit_at_once(family: dict[str, Path]) -> None:
    edit_config(num_hidden_layers=5)(family["lang/1"])
    shutil.rmtree(family["task/0"])
    (family["task/1"] / "tokenizer.json").write_text("{")
    edit_config(quantization_config={})(family["base"])
    message = (
        r"(?s)2 checkpoints that cannot be opened:\n  task/0: .*config.json is missing.*"
        r"task/1: .*tokenizer.json cannot be read.*\n1 reason why this base cannot be searched:.*"
        r"quantised.*\n1 fault of experts, which do not fit the base:\n  lang/1 .*has 5 layers"
    )
    with pytest.raises(CheckpointError, match=message):
        fit(family)


def test_settings_are_compared_by_what_they_mean(family: dict[str, Path]) -> None:
    """Each of them in one of the two files only; `test_meaning` has the table."""
    edit_config(head_dim=None, rms_norm_eps=None, vision_config=None)(family["lang/1"])
    assert fit(family, check_finite=False).n_layers == 4
    edit_config(model_type="own")(family["base"])
    for name in ("task/0", "task/1", "lang/0", "lang/1"):
        edit_config(model_type="own")(family[name])
    edit_config(own_scale=2)(family["task/0"])
    found = examine(family)
    assert found.misfits == {
        "task/0": ["has own_scale 2, base has None: it computes differently"],
        "lang/1": ["has rms_norm_eps None, base has 1e-06: it computes differently"],
    }
    (note,) = found.notes["base"]
    assert note.startswith(
        "has model_type 'own', which transformers does not know: settings of con"
    )


BASES = [
    ({"architectures": ["JambaForCausalLM"]}, r"is JambaForCausalLM, which has recurrent layers"),
    ({"architectures": ["Lfm2ForCausalLM"]}, r"is Lfm2ForCausalLM, which has recurrent layers"),
    ({"layer_types": ["full_attention", "linear_attention"]}, r"which has recurrent layers"),
    ({"vision_config": {}}, r"is not a text decoder alone \(vision_config in config.json\)"),
    ({"is_encoder_decoder": True}, r"is not a text decoder alone \(is_encoder_decoder"),
    ({"quantization_config": {"bits": 4}}, r"is quantised .* give the bf16, fp16 or fp32"),
    (
        {"auto_map": {"AutoConfig": "own.Config"}, "model_type": "own"},
        r"brings code of its own .* does not have model_type 'own' itself: .* is never run",
    ),
]


@pytest.mark.parametrize(("changes", "message"), BASES)
def test_base_that_cannot_be_searched(
    family: dict[str, Path], changes: dict[str, object], message: str
) -> None:
    edit_config(**changes)(family["base"])
    with pytest.raises(CheckpointError, match=r"(?s)1 reason why this base.*" + message):
        fit({"base": family["base"]})


def test_code_that_is_not_needed_is_ignored(family: dict[str, Path]) -> None:
    """Phi-3's published config.json names code, and transformers has the model itself."""
    edit_config(auto_map={"AutoConfig": "configuration_llama.Config"})(family["base"])
    assert fit(family, check_finite=False).n_layers == 4


def test_base_with_quantised_tensors(family: dict[str, Path]) -> None:
    edit_tensors(lambda t: t.update({NORM: t[NORM].to(torch.uint8)}))(family["base"])
    with pytest.raises(CheckpointError, match=r"1 tensor that is not bf16.*norm.weight U8"):
        fit({"base": family["base"]})


def test_base_with_other_layers_than_it_says(family: dict[str, Path]) -> None:
    edit_config(num_hidden_layers=5)(family["base"])
    with pytest.raises(CheckpointError, match=r"layers \['0', '1', '2', '3'\], not 5"):
        fit({"base": family["base"]})


def _literal(tree: ast.Module, name: str) -> dict[str, tuple[str, str]]:
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and target.id == name and isinstance(node, ast.Assign):
            found: dict[str, tuple[str, str]] = ast.literal_eval(node.value)
            return found
    raise AssertionError(f"vLLM's registry has no {name}")


def test_recurrent_architectures_are_those_of_vllm() -> None:
    """By vLLM's own marks on its model classes, read from its source: importing it takes long."""
    origin = importlib.util.find_spec("vllm").origin  # type: ignore[union-attr]
    root = Path(str(origin)).parent
    bases: dict[str, set[str]] = {}
    for folder in ("model_executor/models", "models"):
        for file in (root / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            for name, above in re.findall(r"^class (\w+)\(([^)]*)\)", text, re.MULTILINE):
                bases.setdefault(name, set()).update(re.findall(r"\w+", above))
    marks = {"IsHybrid", "HasInnerState", "IsAttentionFree"}

    def marked(name: str, seen: frozenset[str] = frozenset()) -> bool:
        above = bases.get(name, set())
        return bool(above & marks) or any(
            marked(other, seen | {name}) for other in above - seen - {name}
        )

    registry = ast.parse((root / "model_executor/models/registry.py").read_text(encoding="utf-8"))
    models = _literal(registry, "_TEXT_GENERATION_MODELS")
    gone = set(_literal(registry, "_PREVIOUSLY_SUPPORTED_MODELS"))
    assert {name for name, (_, kind) in models.items() if marked(kind)} == RECURRENT - gone


def test_all_sources(tiny_llama: Family) -> None:
    assert list(tiny_llama.all_sources()) == [
        *("base", "task/0", "task/1", "te/0", "te/1", "xx/0"),
    ]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (shutil.rmtree, r"config.json is missing: a Hugging Face model folder holds one"),
        (lambda p: (p / "model.safetensors").unlink(), r"holds no \*.safetensors; convert it"),
        (_truncate, r"model.safetensors is truncated or not safetensors"),
        (_shard_alone, r"names 1 shard, missing: model-00001-of-00002.safetensors"),
        (edit_tensors(_poison), r"task/1 .*has NaN or infinity in model.norm.weight"),
    ],
)
def test_cannot_be_used(family: dict[str, Path], edit: Edit, message: str) -> None:
    edit(family["task/1"])
    with pytest.raises(CheckpointError, match=message):
        fit(family)


def test_unknown_language(tiny_llama: Family) -> None:
    with pytest.raises(ConfigError, match=r"--lang sw: family tiny-llama has no .*it has te, xx"):
        tiny_llama.sources("sw")


def test_combine_rounds_once() -> None:
    """float32 arithmetic, one rounding: bf16 arithmetic would lose the second addend."""
    tensors = {"a": torch.tensor([1.0]).bfloat16(), "b": torch.tensor([2**-8]).bfloat16()}
    terms = (Term("a", 1.0), Term("b", 1.0), Term("b", 1.0))
    assert combine(Mix("linear", terms), tensors, "w").float().item() == 1 + 2**-7
    assert combine(Mix("linear", terms[:1]), tensors, "w") is tensors["a"]


def test_export_is_what_the_plan_says(family: dict[str, Path], tmp_path: Path) -> None:
    fitted = fit(family)
    out = tmp_path / "export"
    recipe = LayerSwap(0, 1, 1, 1, 1, 0, 0.25, 0.75)
    write_export(plan(recipe, fitted.names, fitted.n_layers), fitted.sources, fitted.base, out)
    merged, task, lang = Checkpoint.open(out), fitted.sources["task/0"], fitted.sources["lang/1"]
    q = "model.layers.{}.self_attn.q_proj.weight".format
    assert torch.equal(merged.read(q(0)), lang.read(q(0)))
    assert torch.equal(merged.read(q(2)), task.read(q(2)))
    expected = 0.25 * task.read(q(1)).float() + 0.75 * lang.read(q(1)).float()
    assert torch.equal(merged.read(q(1)), expected.bfloat16())
    mean = (task.read(EMBED).float() + lang.read(EMBED).float()) / 2
    assert torch.equal(merged.read(EMBED), mean.bfloat16())
    assert {n: (i.dtype, i.shape) for n, i in merged.tensors.items()} == {
        n: (i.dtype, i.shape) for n, i in fitted.base.tensors.items()
    }
    assert (out / "tokenizer.json").exists()
    with pytest.raises(CheckpointError, match="exists: name another folder"):
        write_export(plan(Single("base"), fitted.names, 4), fitted.sources, fitted.base, out)


def test_sharded_export_and_reading(
    family: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.export.writer.SHARD_BYTES", 40_000)
    fitted = fit(family)
    out = tmp_path / "sharded"
    write_export(plan(Single("task/1"), fitted.names, 4), fitted.sources, fitted.base, out)
    assert len(list(out.glob("model-*.safetensors"))) > 2
    again = fit({**family, "task/1": out})
    for name in fitted.names:
        assert torch.equal(again.sources["task/1"].read(name), fitted.sources["task/1"].read(name))
