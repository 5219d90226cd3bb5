"""`search.report`: which study, where to, and until when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from search.report import __main__ as report
from tests.search.report.studies import many
from tests.search.results.studies import BEST, add


@pytest.mark.slow
def test_the_newest_study_into_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    many(tmp_path / "runs" / "s", 12).close()
    monkeypatch.chdir(tmp_path)
    assert report.main([]) == 0
    assert capsys.readouterr().out == "runs/s/report.html: 12 trials\n"
    assert report.main(["runs/s", "--out", "elsewhere", "--watch"]) == 0  # nobody runs it
    assert (tmp_path / "elsewhere" / "report.html").is_file()


@pytest.mark.slow
def test_watch_ends_with_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = many(tmp_path / "s", 12)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        add(records, BEST, 0.5, "held_out")
        records.close()

    monkeypatch.setattr(report.time, "sleep", sleep)
    assert report.main([str(tmp_path / "s"), "--watch"]) == 0
    assert slept == [60.0]
    out = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[2] for line in out] == ["12 trials", "13 trials"]


def test_what_cannot_be_read_or_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(tmp_path)]) == 2
    assert "holds no study" in capsys.readouterr().err
    many(tmp_path / "s", 12).close()
    (tmp_path / "file").write_text("")
    assert report.main([str(tmp_path / "s"), "--out", str(tmp_path / "file")]) == 2
    assert "file cannot be written" in capsys.readouterr().err


@pytest.mark.slow
def test_lost_records_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page without what was lost says so; of a study whose trials are gone, none is written."""
    records = many(tmp_path / "s", 12)
    records.rewrite(replace(records.head(), finished="2026-01-02T03:04:05Z"))
    records.close()
    for file in (tmp_path / "s" / "items").iterdir():
        file.write_bytes(b"no gzip")
    assert report.main([str(tmp_path / "s")]) == 0
    assert "note: The answers of " in capsys.readouterr().err
    page = tmp_path / "s" / "report.html"
    assert "cannot be read" in page.read_text(encoding="utf-8")
    before = page.read_bytes()
    (tmp_path / "s" / "trials.jsonl").unlink()
    assert report.main([str(tmp_path / "s")]) == 2
    assert "it was emptied or lost" in capsys.readouterr().err and page.read_bytes() == before
