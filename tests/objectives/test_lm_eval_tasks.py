"""What is refused of lm-evaluation-harness's tasks, before anything of theirs is run or fetched."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from objectives.errors import DataError, DependencyError, SettingError
from objectives.lm_eval_tasks import load
from tests.objectives.lm_eval_yamls import write

pytest.importorskip("lm_eval")


CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_choice": "{{choices}}",
    "metric_list": [{"metric": "acc"}],
    "filter_list": None,
    "num_fewshot": 0,
}


def _filter(name: str, **given: str) -> dict[str, Any]:
    """A task that reads its answers so."""
    return {"filter_list": [{"name": "x", "filter": [{"function": name, **given}]}]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("tasks"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"metric_list": [{"metric": "bleu"}]}, SettingError, "bleu.*aggregates by bleu: no mean"),
        ({"repeats": 3}, SettingError, "asks 3 times"),
        ({"dataset_path": "nobody/nothing"}, DataError, "are not fetched unless"),
        ({"doc_to_text": "{{ ''.__class__.__mro__ }}"}, DataError, "could not build bad"),
        ({"description": "s3://x"}, SettingError, "at a URL"),
        ({"metric_list": [{"metric": "exactmatch"}]}, SettingError, "did you mean exact_match"),
        ({"metric_list": []}, SettingError, "bad has no metric: name one in its metric_list"),
        ({"task": 3}, DataError, "bad.yaml has task: 3, which is no name"),
        ({"dataset_kwargs": {"data_files": "none.json"}}, DataError, "none.json'.*started in"),
        ({"doc_to_text": "{{qestion}}"}, DataError, "'qestion' is undefined: a template names a"),
        ({"doc_to_target": "{{anser}}"}, DataError, "'anser' is undefined: a template names a"),
        ({"doc_to_text": "{{question"}, DataError, "not written to its end"),
        ({"test_split": "validation"}, DataError, "'validation': its data has no such split"),
        ({"fewshot_split": "train"}, DataError, "'train': its data has no such split"),
        ({"test_split": None}, DataError, "must have valid or test docs"),
        ({"num_fewshot": 50}, DataError, "num_fewshot is more than the rows"),
        ({"doc_to_txt": "x"}, DataError, "'doc_to_txt': a key that no task has"),
        ({"output_type": "generate"}, DataError, "invalid output_type 'generate'"),
        (_filter("regex", regex_pattern="(("), DataError, r"cannot score an answer: missing \)"),
        (_filter("regexx"), DataError, "Unknown filter 'regexx'. Did you mean: regex"),
        (CHOICE | {"doc_to_target": "{{7}}"}, DataError, "doc_to_target is no index of the choi"),
        (CHOICE | {"doc_to_choice": "{{all}}"}, DataError, "'all' is undefined"),
    ],
)
def test_what_is_refused(
    folder: Path, tmp_path: Path, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    task = json.loads((folder / "sums.yaml").read_text("utf-8")) | {"task": "bad"} | change
    (tmp_path / "bad.yaml").write_text(json.dumps(task), "utf-8")
    with pytest.raises(error, match=message) as raised:
        load(["bad"], tmp_path, code=False, fetch=False)
    advice = "are not fetched" in str(raised.value)
    assert advice == (change.get("dataset_path") == "nobody/nothing")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "its data has no row"),
        ('{"question": "1 + 1", "answer": "2"}\n{"question": \n', "its data cannot be read: JSON"),
    ],
)
def test_data_that_cannot_be_read(folder: Path, tmp_path: Path, data: str, message: str) -> None:
    (tmp_path / "data.json").write_text(data)
    files = {"dataset_kwargs": {"data_files": {"test": str(tmp_path / "data.json")}}}
    task = json.loads((folder / "sums.yaml").read_text("utf-8")) | {"task": "bad"} | files
    (tmp_path / "bad.yaml").write_text(json.dumps(task), "utf-8")
    with pytest.raises(DataError, match=rf"could not build bad: .*{message}"):
        load(["bad"], tmp_path, code=False, fetch=False)


def test_nothing_is_printed(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(["sums"], folder, code=False, fetch=False)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_no_such_task_or_folder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no task 'sumz'"):
        load(["sumz"], folder, code=False, fetch=False)
    with pytest.raises(DataError, match="has no task: put"):
        load(["sums"], tmp_path, code=False, fetch=False)


def test_without_the_harness(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.utils", None)
    with pytest.raises(DependencyError, match=r"pip install 'layer-swap-search\[lm-eval\]'"):
        load(["sums"], folder, code=False, fetch=False)
