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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("tasks"))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"metric_list": [{"metric": "bleu"}]}, SettingError, "bleu.*aggregates by bleu: no mean"),
        ({"repeats": 3}, SettingError, "asks 3 times"),
        ({"dataset_path": "nobody/nothing"}, DataError, "are not fetched unless"),
        ({"doc_to_text": "{{ ''.__class__.__mro__ }}"}, DataError, "could not build bad"),
        ({"description": "s3://x"}, SettingError, "at a URL"),
    ],
)
def test_what_is_refused(
    folder: Path, tmp_path: Path, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    task = json.loads((folder / "sums.yaml").read_text("utf-8")) | {"task": "bad"} | change
    (tmp_path / "bad.yaml").write_text(json.dumps(task), "utf-8")
    with pytest.raises(error, match=message):
        load(["bad"], tmp_path, code=False, fetch=False)


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
