"""`search.best`: what is said of a study's best recipe, however the study is named."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from search import best
from search.checkpoints.family import Family
from search.export.selection import Study
from search.records.writer import RecordsWriter
from tests.search.export.studies import BEST, RECIPES, trial
from tests.search.results import studies

RUN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def study(tmp_path: Path) -> RecordsWriter:
    records = studies.begin(tmp_path / "runs" / "s")
    studies.full(records)
    return records


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def test_in_words(study: RecordsWriter, capsys: pytest.CaptureFixture[str]) -> None:
    assert best.main([str(study.folder)]) == 0
    lines = said(capsys)
    assert lines[:2] == [
        f"{study.folder} (running): demo / te, 8 recipes compared",
        "recommended so far: te b2 u2 tb0 tu0 m0-l0",
    ]
    assert "held-out: accuracy 80.0% (73.9 to 85.0, 200 items), LCPR 97.0% (94.0 to 99.0" in (
        "\n".join(lines)
    )
    assert any(
        line.startswith("against the best soup (te soup w.50 m0-l0): +25.0 (") for line in lines
    )
    assert lines[-2] == f"export it: python -m search.export --study {study.folder} --out merged"


@pytest.mark.slow
def test_the_newest_and_as_json(
    study: RecordsWriter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(study.folder.parents[1])
    assert best.main(["--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["study"] == "runs/s" and data["label"] == "te b2 u2 tb0 tu0 m0-l0"
    assert [other["what"] for other in data["beats"]][0] == "default recipe"


def test_none_is_recommended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = studies.begin(tmp_path / "s")
    assert best.main([str(tmp_path / "s")]) == 1
    assert said(capsys)[1] == "no recommendation yet: no layer swap has been scored"
    studies.add(records, studies.BEST, 0.01, "search")
    assert best.main([str(tmp_path / "s")]) == 1
    lines = said(capsys)
    assert lines[2].startswith("best on the search items so far: te b2") and "--force" in lines[-2]
    records.close()
    assert best.main([str(tmp_path / "s")]) == 1
    assert said(capsys)[2] == f"more trials: python -m search.run --resume {tmp_path / 's'}"
    with_end = RecordsWriter.open(tmp_path / "s")
    with_end.rewrite(replace(with_end.head(), finished="2026-01-01T00:00:00Z"))
    with_end.close()
    assert best.main([str(tmp_path / "s")]) == 1
    lines = said(capsys)
    assert lines[2] == f"more trials: python -m search.run --extend {tmp_path / 's'} --trials 40"
    assert lines[3].startswith("best on the search items: te b2")


@pytest.mark.slow
def test_the_default_recipe_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is compared with itself."""
    records = studies.begin(tmp_path / "s")
    studies.full(records)
    records.rewrite(replace(records.head(), finished="2026-01-01T00:00:00Z"))
    found = best.find(str(tmp_path / "s"))
    (first, *others) = found.beats
    same = replace(found, beats=(replace(first, key=found.key, difference=None), *others))
    lines = list(best.lines(same))
    assert lines[1] == f"recommended: {found.label} (the default recipe)"
    assert not any("against the default recipe" in line for line in lines)
    assert any("against the best soup" in line for line in lines)


def test_a_name_is_no_recipe(tmp_path: Path) -> None:
    """A name has two decimals of each share, and records of others have any."""
    records = studies.begin(tmp_path / "s")
    studies.full(records)
    found = best.find(str(tmp_path / "s"))
    (first, *others) = found.beats
    assert [other.key for other in found.beats] == list(
        dict.fromkeys(other.key for other in found.beats)
    )
    lines = list(best.lines(replace(found, beats=(replace(first, label=found.label), *others))))
    assert lines[1] == f"recommended so far: {found.label}"
    assert any(x.strip().startswith("against the default recipe") for x in lines)
    (unnamed,) = [x for x in best.lines(replace(found, label="")) if x.startswith("export it: ")]
    assert found.export in unnamed


def test_what_is_no_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert best.main([str(tmp_path)]) == 2
    assert "holds no study; name one" in capsys.readouterr().err
    assert best.main([RUN, "--tracking-uri", f"sqlite:///{tmp_path}/none.db"]) == 2
    assert "there is no MLflow store" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_of_a_study_whose_folder_is_there_or_gone(
    study: RecordsWriter,
    tiny_llama: Family,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """MLflow's side of it is `tests/search/export/test_selection.py`'s."""
    trials = [trial(recipe, accuracy) for recipe, accuracy in RECIPES.items()]
    kept = Study("gone", "te", tiny_llama, 0.02, [*trials, trial(BEST, 0.5, "held_out")])
    found = {RUN: kept, "f" * 32: Study("s", "te", tiny_llama, 0.02, [], study)}
    monkeypatch.setattr("search.export.selection.open_run", lambda uri, run: (found[run], None))
    assert best.main(["f" * 32]) == 0
    assert said(capsys)[0].startswith(f"{study.folder} (running)")
    assert best.main([RUN, "--tracking-uri", "http://mlflow:5000"]) == 0
    lines = said(capsys)
    assert lines[0] == "gone: tiny-llama / te, 3 recipes compared"
    assert lines[2].startswith("layer 0: lang/1; layer 1: 0.5 task/0 + 0.5 lang/1")
    assert lines[-2] == (
        f"export it: python -m search.export --run {RUN} --tracking-uri http://mlflow:5000 "
        "--recommended --out merged"
    )


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["gone", "cut", "not gzip", "no JSON"])
def test_answers_that_cannot_be_read_are_said(
    study: RecordsWriter, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scores stand in the records; what is compared item by item is missing, which is told."""
    for file in sorted((study.folder / "items").glob("*.held_out.*")):
        data = {"cut": file.read_bytes()[:-9], "not gzip": b"{}", "no JSON": gzip.compress(b"[")}
        file.write_bytes(data[damage]) if damage in data else file.unlink()
    assert best.main([str(study.folder)]) == 0
    (note,) = [line for line in said(capsys) if line.startswith("note: ")]
    assert re.match(
        r"note: The answers of \d+ trials cannot be read: .*\.held_out\.jsonl\.gz", note
    )
    assert best.main([str(study.folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unreadable"] == note.removeprefix("note: ")


def test_a_finished_study_without_trials(
    study: RecordsWriter, capsys: pytest.CaptureFixture[str]
) -> None:
    study.rewrite(replace(study.head(), finished="2026-01-02T03:04:05Z"))
    study.close()
    (study.folder / "trials.jsonl").write_bytes(b"")
    assert best.main([str(study.folder)]) == 2
    assert "trials.jsonl there holds no trial" in capsys.readouterr().err


def test_a_name_makes_no_line_of_its_own(
    study: RecordsWriter, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stranger's study cannot say what we would say."""
    evil = "te\nrecommended: te b9\u2028export it: rm -r x"
    lines = (study.folder / "trials.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) | {"label": evil} for line in lines]
    (study.folder / "trials.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert best.main([str(study.folder)]) == 0
    begun = [line.partition(":")[0] for line in said(capsys)]
    assert begun.count("export it") == 1 and "recommended" not in begun
    assert begun.count("recommended so far") == 1
