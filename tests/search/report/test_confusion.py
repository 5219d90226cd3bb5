"""The command `python -m search.report.confusion`, and traces on their way through the records."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from objectives.types import ItemResult, Message, Step
from search.common.errors import StudyError
from search.config import compose
from search.merging.recipe import LayerSwap, Recipe, Single, label
from search.records.head import StudyHead
from search.records.items import pack_items
from search.records.reader import RecordsReader
from search.records.record import Record
from search.records.writer import RecordsWriter
from search.report.confusion import main, read_trials, show

TELUGU = "ఈ రోజు ఉదయం మేము పాత ఉద్యానవనంలో చాలా సేపు నడిచాము"
ENGLISH = "This morning we walked for a long time in the old park"
TURNS = (Message("user", "Reply in Telugu."), Message("assistant", "సరే"), Message("user", "ఎన్ని?"))


def steps(text: str, entropy: float = 0.5, at: float = 2.0) -> tuple[Step, ...]:
    """A step for each word; English ones are `at` unsure."""
    return tuple(
        Step(word, at if word.strip().isascii() else entropy, 7 if word.strip().isascii() else 1)
        for word in re.findall(r"\s*\S+", text)
    )


def item(name: str, text: str, at: float = 2.0, trace: bool = True) -> ItemResult:
    found = steps(text, at=at) if trace else ()
    return ItemResult("lcpr", name, TURNS, text, 9, "stop", {"outcome": "PASS"}, found)


def add(records: RecordsWriter, key: str, recipe: Recipe, items: list[ItemResult]) -> None:
    told = label(recipe, "te", 10)
    records.append(Record(0, key, "search", "scored", "search", told, recipe), pack_items(items))


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Path]:
    """Three trials: one that switches twice, one that does not, one without a trace; held open."""
    head = StudyHead("s", compose.load([], {"lang": "te"}).model_dump(mode="json"))
    records = RecordsWriter.create(tmp_path / "s", head)
    switching = [
        item("p1", f"{TELUGU} walked", at=2.0),
        item("p2", f"{TELUGU}\n{ENGLISH}", at=3.0),
        item("p3", TELUGU),
        ItemResult("mgsm", "q1", "p", TELUGU, 9, "stop", {}),
    ]
    add(records, "aaa", LayerSwap(0, 1, 1, 1, 0, 0), switching)
    add(records, "bbb", Single("base"), [item("p1", TELUGU)])
    add(records, "ccc", Single("task/0"), [item("p1", TELUGU, trace=False)])
    yield records.folder
    records.close()


def test_packed_traces_and_turns_come_back(tmp_path: Path) -> None:
    records = RecordsWriter.create(tmp_path / "s", StudyHead("s", {}))
    traced = item("a", "x ఒక\u2028y", at=1.23456)
    add(records, "k", Single("base"), [traced, item("b", "plain", trace=False)])
    first, second = records.items(records.trials[0])
    assert first.prompt == second.prompt == TURNS
    assert [s.entropy for s in first.steps] == [1.2346, 0.5, 1.2346]  # to 1e-4 nat
    assert [(s.text, s.nucleus) for s in first.steps] == [(s.text, s.nucleus) for s in traced.steps]
    assert second.steps == () and second.completion == "plain"


def test_traces_are_packed_as_columns() -> None:
    (row,) = gzip.decompress(pack_items([item("a", "one two")])).decode().splitlines()
    assert json.loads(row)["steps"] == {
        "text": ["one", " two"], "entropy": [2.0, 2.0], "nucleus": [7, 7]
    }  # fmt: skip
    (row,) = gzip.decompress(pack_items([item("a", "one", trace=False)])).decode().splitlines()
    assert "steps" not in json.loads(row)


def test_table(study: Path) -> None:
    """Averages over tokens: 10 + 21 + 9, of which 1 and 12 are English ones."""
    first, second = read_trials(study)
    found = first.table
    assert (found.responses, found.confused, found.overall.n) == (3, 2, 9 + 1 + 9 + 12 + 9)
    assert found.at_points.entropy == (2 + 3) / 2 and found.at_points.nucleus == 7
    assert found.elsewhere.entropy == pytest.approx((27 * 0.5 + 11 * 3) / 38)
    assert (second.record.key, second.table.confused) == ("bbb", 0)
    assert second.table.at_points.entropy is None


def test_what_is_printed(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While a search holds the study; plain, because the output is no terminal."""
    with pytest.raises(StudyError, match="in use by another running search"):
        RecordsWriter.open(study)
    assert main([str(study)]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    rows = [line.split() for line in printed.splitlines() if line.startswith((" aaa", " bbb"))]
    assert rows[0][-8:] == "3 2 1.288 2.500 1.224 2.95 7.00 2.74".split()
    assert rows[1][-8:] == ["1", "0", "0.500", "–", "0.500", "1.00", "–", "1.00"]
    assert printed.index(f"\n>>>This<<<{ENGLISH[4:]}") < printed.index(f"{TELUGU} >>>walked<<<")
    assert "(aaa, p2): switches to 'en', entropy 3.000, nucleus 7" in printed
    assert f"{label(Single('task/0'), 'te', 10)}" not in printed


@pytest.mark.parametrize(("top", "shown"), [(0, 0), (1, 1), (9, 2)])
def test_top(study: Path, top: int, shown: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(study), "--top", str(top), "--trial", "aaa"]) == 0
    printed = capsys.readouterr().out
    assert printed.count(">>>") == shown and "bbb" not in printed


def test_terminal_marks_in_colour(study: Path) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="standard", width=130)
    show(read_trials(study), 1, console)
    assert ">>>" not in out.getvalue()
    assert re.search(r"\x1b\[[0-9;]*41mThis\x1b\[0m", out.getvalue())


def test_nothing_switches(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(study), "--trial", "bbb"]) == 0
    assert "No traced response leaves its language." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere holds no study"),
        (["s", "--trial", "zzz"], "s has no trial zzz; it has aaa, bbb, ccc"),
        (["s", "--trial", "ccc"], "trial ccc has a trace; .*objective.confusion_points=true"),
    ],
)
def test_errors(
    study: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(study.parent)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert re.search(f"^error: .*{message}", captured.err) and not captured.out


def test_line_that_is_being_written(study: Path) -> None:
    """Reading leaves the files of a running search alone."""
    file = study / "trials.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"schema": 1, "num')
    assert [record.key for record in RecordsReader.read(study).trials] == ["aaa", "bbb", "ccc"]
    assert file.read_bytes() == whole + b'{"schema": 1, "num'
    assert not file.with_suffix(".jsonl.cut").exists()
