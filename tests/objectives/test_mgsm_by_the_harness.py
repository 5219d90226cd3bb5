"""MGSM by lm-evaluation-harness's own task, on local data, against our own MGSM."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from objectives.langid import LanguageIdentifier
from objectives.languages import MGSM_CODES, language
from objectives.lm_eval import LmEvalSettings
from objectives.mgsm import MgsmSettings
from objectives.settings import Shared
from objectives.types import Completion
from tests.objectives.test_mgsm_prompts import CUTS_A_LETTER, own_exemplars

pytest.importorskip("lm_eval")
FIELDS = pa.schema(
    [("question", pa.string()), ("answer", pa.string()), ("answer_number", pa.int64())]
)
ANSWERS = [7, 2125, 12, 30, 5]


def data(folder: Path, code: str) -> None:
    """Five questions and eight exemplars, in MGSM's files and with the hub's fields."""
    questions = [f"{code} {n} ?" for n in range(len(ANSWERS))]
    rows = [f"{question}\t{answer}" for question, answer in zip(questions, ANSWERS, strict=True)]
    (folder / f"mgsm_{code}.tsv").write_text("\n".join(rows), "utf-8")
    (folder / "exemplars.json").write_text(json.dumps(own_exemplars()), "utf-8")
    test: list[dict[str, Any]] = [
        {"question": question, "answer": None, "answer_number": answer}
        for question, answer in zip(questions, ANSWERS, strict=True)
    ]
    shown = own_exemplars()["exemplars"][code].values()
    train = [{"question": e["q"], "answer": e["a"], "answer_number": 0} for e in shown]
    for name, lines in (("train", train), ("test", test)):
        pq.write_table(pa.Table.from_pylist(lines, FIELDS), folder / f"{name}.parquet")


def harness_task(folder: Path, code: str, shots: int) -> None:
    """The harness's own task, but for its data, and the exemplars in their order."""
    spec = find_spec("lm_eval")
    assert spec is not None and spec.origin is not None
    own = Path(spec.origin).parent / "tasks" / "mgsm" / "native_cot"
    task: dict[str, Any] = yaml.safe_load((own / "cot_yaml").read_text("utf-8"))
    task |= yaml.safe_load((own / f"mgsm_native_cot_{code}.yaml").read_text("utf-8"))
    for name in ("include", "tag", "dataset_name"):
        task.pop(name)
    files = {name: str(folder / f"{name}.parquet") for name in ("train", "test")}
    task |= {
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": files},
        "task": "mgsm_here",
    }
    task |= {
        "num_fewshot": shots,
        "fewshot_split": "train",
        "fewshot_config": {"sampler": "first_n"},
    }
    (folder / "here.yaml").write_text(yaml.safe_dump(task, allow_unicode=True), "utf-8")


def both(folder: Path, code: str, shots: int) -> tuple[Any, Any]:
    data(folder, code)
    harness_task(folder, code, shots)
    parts: dict[str, Any] = {"search_items": 4, "held_out_items": 1, "shuffle": False}
    ours = MgsmSettings(data_dir=folder, shots=shots, **parts)
    theirs = LmEvalSettings(tasks=("mgsm_here",), include_path=folder, **parts)
    shared = Shared(code, 0, LanguageIdentifier(), None, 0.0, chat=False, trace=False)
    return ours.build(shared), theirs.build(shared)


@pytest.mark.parametrize("shots", [0, 8])
@pytest.mark.parametrize("code", ["bn", "en", "es", "sw", "te", "zh"])
def test_prompts_are_the_same(tmp_path: Path, code: str, shots: int) -> None:
    assert code in MGSM_CODES
    ours, theirs = both(tmp_path, code, shots)
    one, other = ([r.prompt for r in each.requests("search")] for each in (ours, theirs))
    if shots and code in CUTS_A_LETTER:  # of each exemplar's answer, which ours keeps
        assert one != other and [len(p) for p in one] == [len(p) + 8 for p in other]
    else:
        assert one == other
    stops = [set(each.requests("search")[0].sampling.stop) for each in (ours, theirs)]
    assert stops[0] == stops[1]


PHRASE = language("te").mgsm_words.phrases[0]


@pytest.mark.parametrize(
    ("text", "ours", "theirs"),
    [
        (f"3 + 4 = 7. {PHRASE} 7.", True, True),
        (f"{PHRASE} 8.", False, False),
        ("7", False, False),  # without the phrase
        (f"{PHRASE} 7.0", True, False),
        (f"{PHRASE} ౭.", True, False),
        (f"{PHRASE}: 7", True, False),
        (f"{PHRASE} 8. {PHRASE} 7.", True, False),  # the last counts, and the first
        (f"{PHRASE} 7. {PHRASE} 8.", False, True),
    ],
)
def test_verdicts_are_the_same_but_for_these(
    tmp_path: Path, text: str, ours: bool, theirs: bool
) -> None:
    mine, harness = both(tmp_path, "te", 0)
    said = [Completion(text, 9, "stop")] * 4  # the first item's answer is 7
    strict = mine.score("search", said).items[0].verdict["correct"]
    found = harness.score("search", said).items[0].verdict["value"]
    assert (strict, found) == (ours, float(theirs))
