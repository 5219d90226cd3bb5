"""The build runs from end to end, and its files are what the service and vLLM read."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open

from demo import build, checkpoint, testdata, tokenizer
from demo.evaluate import Swap, is_in, merge, result_of, swap_shares
from demo.experts import EXPERTS, Expert, layer_of
from demo.model import Shape, TinyLlama

ROOT = Path(build.HERE).parent


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("family")
    command = [sys.executable, "-m", "demo.build", "--smoke", "--out", str(out)]
    subprocess.run(command, check=True, cwd=ROOT)
    return out


@pytest.mark.slow
def test_smoke_build_passes_its_own_check(smoke: Path) -> None:
    assert build.main(["--check", "--out", str(smoke)]) == 0
    assert (smoke / "SCORES.md").read_text().count("soup") == 2


@pytest.mark.slow
def test_check_names_what_is_wrong(smoke: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(smoke, out)
    (out / "weights" / "base" / "config.json").write_text("{}")
    (out / "data" / "mgsm" / "mgsm_te.tsv").unlink()
    wrong = build.check(out)
    assert len(wrong) == 2
    assert re.match(r"data/mgsm/mgsm_te\.tsv: missing", wrong[0])
    assert re.match(r"weights/base/config\.json: has \w{12}, SHA256SUMS says", wrong[1])


def test_smoke_refuses_to_overwrite_the_shipped_family() -> None:
    with pytest.raises(SystemExit):
        build.main(["--smoke"])


def test_shipped_files_match_their_hashes() -> None:
    assert build.check(build.HERE) == []


def test_shipped_weights_are_small() -> None:
    files = (build.HERE / "weights").rglob("*")
    assert sum(f.stat().st_size for f in files if f.is_file()) < 40e6


def test_shipped_items_are_what_the_generator_writes(tmp_path: Path) -> None:
    testdata.write(tmp_path)
    for file in (f for f in tmp_path.rglob("*") if f.is_file()):
        shipped = build.HERE / "data" / file.relative_to(tmp_path)
        assert file.read_bytes() == shipped.read_bytes(), file


def test_family_file_lists_every_expert() -> None:
    conf = ROOT / "conf" / "family"
    family = yaml.safe_load((conf / "demo.yaml").read_text())
    listed = [family["base"], *family["task"], *sum(family["language"].values(), [])]
    assert sorted(Path(p).name for p in listed) == sorted(["base", *(e.name for e in EXPERTS)])
    assert all((conf / p / "model.safetensors").exists() for p in listed)


@pytest.mark.parametrize("name", ["base", *(e.name for e in EXPERTS)])
def test_checkpoints_have_one_form(name: str) -> None:
    folder = build.HERE / "weights" / name
    assert json.loads((folder / "config.json").read_text()) == checkpoint.config(build.SHAPE)
    with safe_open(folder / "model.safetensors", "pt") as file:
        for key in file.keys():
            tensor = file.get_tensor(key)
            assert tensor.dtype == torch.bfloat16
            assert tensor.isfinite().all()


@pytest.mark.slow
def test_hugging_face_computes_the_same_logits() -> None:
    from transformers import LlamaForCausalLM

    folder = build.HERE / "weights" / "base"
    theirs = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ours = TinyLlama(build.SHAPE).eval()
    ours.load_state_dict(checkpoint.read(folder))
    question = testdata.read_problems(build.HERE / "data", "te")[0][0]
    ids = torch.tensor([tokenizer.build().encode(question).ids])
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_auto_tokenizer_agrees_with_ours() -> None:
    from transformers import AutoTokenizer

    tok = AutoTokenizer.from_pretrained(build.HERE / "weights" / "telugu-0")
    for code in ("en", "te", "sw"):
        for question, _ in testdata.read_problems(build.HERE / "data", code)[:20]:
            ids = tok(question).input_ids
            assert ids == tokenizer.build().encode(question).ids
            assert tok.decode(ids, skip_special_tokens=True) == question


def test_generation_does_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    model = TinyLlama(Shape(vocab=64)).eval()
    prompts = [[1, 5, 6], [1, 7, 8, 9, 10, 11], [1]]
    together = model.generate(prompts, 8, 2)
    assert together == [model.generate([p], 8, 2)[0] for p in prompts]


def test_swap_shares() -> None:
    assert swap_shares(Swap(1, 1, 1, 1), 6) == (1.0, 0.5, 0.0, 0.0, 0.5, 1.0, 0.5)
    assert swap_shares(Swap(0, 0), 3) == (0.0, 0.0, 0.0, 0.5)


def test_merge_takes_each_tensor_from_its_expert() -> None:
    names = ("model.embed_tokens.weight", "model.layers.0.x", "model.layers.1.x", "lm_head.weight")
    task = {name: torch.zeros(2) for name in names}
    language = {name: torch.ones(2) for name in names}
    merged = merge(task, language, (1.0, 0.0, 0.5))
    assert [float(merged[name][0]) for name in names] == [0.5, 1.0, 0.0, 0.5]
    assert [layer_of(name) for name in names] == [None, 0, 1, None]


@pytest.mark.parametrize(
    ("answer", "result"), [("The answer is 26.", 26), ("8 + 8 = 16. సమాధానం 16.", 16), ("?", None)]
)
def test_the_result_is_the_last_number(answer: str, result: int | None) -> None:
    assert result_of(answer) == result


@pytest.mark.parametrize("code", ["en", "te", "sw"])
def test_right_answers_are_recognised_as_their_language(code: str) -> None:
    tongue = testdata.TONGUES[code]
    worked = [p.worked for p in testdata.problems(tongue, testdata.tales(100, 1))]
    assert all(is_in(text, code) for text in worked)
    others = {"en", "te", "sw"} - {code}
    assert not any(is_in(text, other) for text in worked for other in others)


def test_a_math_expert_borrows_the_ends_and_a_language_expert_the_middle() -> None:
    from random import Random

    math = Expert("m", "math", seed=1, steps=1, rate=1.0, stitched=1.0)
    telugu = Expert("t", "te", seed=1, steps=1, rate=1.0, stitched=1.0)
    for seed in range(20):
        ends, middle = math.lent(Random(seed), 10), telugu.lent(Random(seed), 10)
        assert ends | middle == set(range(10))
        assert not ends & middle
        assert 5 in middle
