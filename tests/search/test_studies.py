"""The list of studies: states, budgets, best recipes; what is broken is a line."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from search import studies
from search.records.head import StudyHead
from search.records.writer import RecordsWriter
from tests.search.tracking.sent import L, poor_base, trial

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
    assert "is not told from any of the 1 others" in found["stopped"].no_recommendation
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
    assert "4/4" in line and "58.0 / 58.0" in line and trial(0).label in line
    assert len([x for x in text.splitlines() if x.startswith(("broken", "odd", "empty"))]) == 3
    (line,) = [line for line in text.splitlines() if line.startswith("stopped")]
    assert line.split()[-2:] == ["no", "recommendation"]


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
