"""The list of studies: states, budgets, best recipes; what is broken is a line."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from objectives.errors import ObjectiveError
from objectives.types import ItemResult, Message, Step
from search import studies
from search.common.errors import SearchError, StudyError
from search.merging.recipe import to_dict
from search.records.head import StudyHead
from search.records.items import pack_items
from search.records.reader import RecordsReader
from search.records.writer import RecordsWriter
from search.results.recommendation import recommend
from search.study.tracking.runs import metrics_of, params_of
from tests.any_json import with_one_changed, written
from tests.search.study.tracking.sent import L, poor_base, trial

CONFIG = {
    "lang": "te",
    "family": {"name": "demo"},
    "search": {"trials": 4, "tolerance": 0.02},
}


def make(folder: Path, n: int, *, finished: bool = False) -> RecordsWriter:
    head = StudyHead(folder.name, CONFIG, layers=L, finished="2026-01-01" if finished else "")
    records = RecordsWriter.create(folder, head)
    if finished:
        records.append(poor_base(99))
    for number in range(n):
        records.append(replace(trial(number), ended=1_700_000_000.0 + number))
    return records


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    done = make(tmp_path / "done", 4, finished=True)
    done.append(trial(9, split="held_out", b=0))
    done.close()
    make(tmp_path / "stopped", 2).close()
    make(tmp_path / "empty", 0).close()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.yaml").write_text("schema: 1\nname: x\n")
    make(tmp_path / "odd", 1).close()
    file = tmp_path / "odd" / "trials.jsonl"
    file.write_text("nonsense\n" + file.read_text())
    (tmp_path / "no study").mkdir()
    (tmp_path / "mlflow.db").write_bytes(b"")
    return tmp_path


def test_lines(folder: Path) -> None:
    held = make(folder / "running", 3)
    found = {Path(line.study).name: line for line in studies.studies(folder)}
    states = {name: line.state for name, line in found.items()}
    assert states == {
        "done": "finished",
        "running": "running",
        "stopped": "stopped",
        "empty": "stopped",
        "broken": "broken",
        "odd": "broken",
    }
    done = found["done"]
    assert (done.family, done.lang, done.trials, done.budget) == ("demo", "te", 4, 4)
    assert done.best == trial(0).label
    assert done.search == done.held_out == (0.58, 0.97)
    assert done.changed == 1_700_000_000.5  # the held-out trial's
    assert done.no_recommendation == ""
    assert found["stopped"].best == "" and found["stopped"].search == (None, None)  # two alike
    assert "is not told from the other one" in found["stopped"].no_recommendation
    assert found["empty"].no_recommendation == "no layer swap has been scored"
    assert found["stopped"].held_out == (None, None) and found["stopped"].trials == 2
    assert found["empty"].best == "" and found["empty"].search == (None, None)
    assert "schema 1" in found["broken"].fault and "line 1" in found["odd"].fault
    held.close()
    assert studies.look(folder / "running").state == "stopped"


def test_looking_leaves_the_lock_as_it_is(folder: Path) -> None:
    held = make(folder / "running", 1)
    before = (folder / "running" / ".lock").read_text()
    assert studies.look(folder / "running").state == "running"
    assert (folder / "running" / ".lock").read_text() == before and str(os.getpid()) in before
    held.close()


def test_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert studies.main([str(folder)]) == 0
    text = capsys.readouterr().out
    (line,) = [line for line in text.splitlines() if line.startswith("done")]
    assert "4/4" in line and "58.0 / 58.0" in line
    name, _, pair = trial(0).label.rpartition(" ")  # folded between words
    assert name in line and any(line.split() == [pair] for line in text.splitlines())
    assert len([x for x in text.splitlines() if x.startswith(("broken", "odd", "empty"))]) == 3
    (line,) = [line for line in text.splitlines() if line.startswith("stopped")]
    assert line.split()[-3:] == ["no", "recommendation", "yet"]


def test_scores_stand_under_their_own_names(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Studies of several objectives lie in one folder; whichever is read last, all are right."""
    records = make(folder / "zz", 2)
    own = {"score": "accuracy", "objective": "code", "people": "solved"}
    records.rewrite(replace(records.head(), targets=[own]))
    records.close()
    assert studies.main([str(folder)]) == 0
    heads, *rows, told = capsys.readouterr().out.splitlines()
    (done,) = [row for row in rows if row.startswith("done")]
    (other,) = [row for row in rows if row.startswith("zz")]
    for name in ("accuracy", "LCPR", "last change", "best"):
        assert done[heads.index(name)] != " " == done[heads.index(name) - 1]
    assert done[heads.index("solved")] == " " != other[heads.index("solved")]
    assert other[heads.index("accuracy")] == " " != other[heads.index("last change")]
    assert told.startswith("accuracy, LCPR and solved of the recommended recipe, in percent")
    assert studies.main([str(folder), "--json"]) == 0
    found = {Path(line["study"]).name: line for line in json.loads(capsys.readouterr().out)}
    assert found["done"]["scores"] == ["accuracy", "LCPR"]
    assert found["zz"]["scores"] == ["solved"] and len(found["zz"]["search"]) == 1
    assert found["broken"]["scores"] == found["broken"]["search"] == []


def test_long_names_are_folded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "s" * 100
    make(folder / name, 4).close()
    assert studies.main([str(folder)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert max(map(len, rows)) <= 110
    assert "".join(row.split(" ")[0] for row in rows if row.startswith("ss")) == name


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert studies.main([str(folder), "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert len(lines) == 5 and [x["changed"] for x in lines] == sorted(
        (x["changed"] for x in lines), reverse=True
    )


def test_one_study(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert studies.main([str(folder / "done"), "--json"]) == 0
    (line,) = json.loads(capsys.readouterr().out)
    assert line["state"] == "finished"


def test_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert studies.main([str(tmp_path / "nowhere")]) == 2
    assert "nowhere cannot be read: No such file" in capsys.readouterr().err
    assert studies.main([str(tmp_path)]) == 0
    assert "holds no study" in capsys.readouterr().out


RECORDS = [poor_base(0), trial(1), trial(2, "failed"), trial(3, split="held_out", b=1)]
ITEM = ItemResult("mgsm", "q", (Message("user", "1?"),), "1", 1, "stop", {"correct": True})
PACKED = json.loads(gzip.decompress(pack_items([replace(ITEM, steps=(Step("1", 0.5, 1),))])))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("any") / "s"
    records = make(folder, 0)
    for record in RECORDS:
        records.append(record, pack_items([ITEM]))
    records.close()
    return folder


@given(with_one_changed([json.loads(record.to_json()) for record in RECORDS]), st.booleans())
def test_trials_of_any_shape(study: Path, rows: Any, mark: bool) -> None:
    """One of them is not what it was: the study is read as it is now, or its fault is a line."""
    lines = rows if isinstance(rows, list) else [rows]
    file = study / "trials.jsonl"
    before = file.read_bytes()
    file.write_bytes(b"\xef\xbb\xbf" * mark + b"".join(written(row) + b"\n" for row in lines))
    _looked_at(study)
    file.write_bytes(before)


@given(with_one_changed(yaml.safe_load(StudyHead("s", CONFIG, {"ray": "1"}, layers=L).to_yaml())))
def test_heads_of_any_shape(study: Path, head: Any) -> None:
    file = study / "study.yaml"
    before = file.read_bytes()
    file.write_bytes(yaml.safe_dump(head).encode())
    _looked_at(study)
    file.write_bytes(before)


@given(with_one_changed(PACKED))
def test_answers_of_any_shape(study: Path, row: Any) -> None:
    records = RecordsReader.read(study)
    (study / records.trials[1].items).write_bytes(gzip.compress(written(row)))
    _looked_at(study)
    with contextlib.suppress(StudyError):
        (item,) = records.items(records.trials[1])
        assert item.steps == () or [step.text for step in item.steps]


def _looked_at(study: Path) -> None:
    """As `search.studies` and `search.export` do."""
    line = studies.look(study)
    said = yaml.safe_load((study / "study.yaml").read_bytes())
    assert line.fault or line.lang == str(said["config"]["lang"])
    try:
        records = RecordsReader.read(study)
        choice = recommend(records, L, 0.02)
        for record in records.trials:
            to_dict(record.recipe), metrics_of(record), params_of(record)
        assert choice is None or choice.record in records.trials
    except (SearchError, ObjectiveError) as error:
        assert str(error)
