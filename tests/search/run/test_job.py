"""What the main job does around a study: what it asks for, and the report, however it ended.

The study itself, on Ray, is in tests/faults and tests/e2e; here a function stands in its place.
"""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from objectives.types import ItemResult, Score, Split
from search.common.ending import ENDING
from search.common.errors import StudyError
from search.merging.recipe import LayerSwap, Recipe, Single, key, label
from search.records.items import pack_items
from search.records.reader import RecordsReader
from search.records.record import Record
from search.report import files
from search.results import comparison
from search.run import job
from search.run.job import run as run_job
from search.run.prepare import Prepared
from search.study.schedule import Schedule
from search.study.tracking import outbox
from search.study.tracking.runs import default_uri
from search.study.tuning.engines import Engines
from tests.search.run.setup import Setup

L, N = 4, 60
BEST, OTHER = LayerSwap(1, 0, 1, 1, 1, 0), LayerSwap(0, 1, 1, 1, 1, 0)
Run = Callable[..., bool]


@pytest.fixture
def prepared(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    monkeypatch.setattr(outbox, "ANSWER_SECONDS", 0.2)  # nobody answers
    return setup.prepared()


def trial(recipe: Recipe, accuracy: float, split: Split = "search", **changes: Any) -> Record:
    share = Score(accuracy, accuracy - 0.1, accuracy + 0.1, N, N)
    scores = {name: share for name in ("accuracy", "lcpr")}
    told = label(recipe, "te", L)
    found = Record(0, key(recipe, L), split, "scored", "search", told, recipe, scores)
    return replace(found, **changes)


def answers(record: Record) -> bytes:
    right = round(N * (record.value("accuracy") or 0))
    verdicts = ({"correct": i < right} for i in range(N))
    return pack_items(
        ItemResult("mgsm", f"q{i}", "p", "c", 3, "stop", verdict)
        for i, verdict in enumerate(verdicts)
    )


def run(prepared: Prepared, study: Run, monkeypatch: pytest.MonkeyPatch) -> tuple[str | None, str]:
    """What came back, None for a fault, and what was printed."""
    out = io.StringIO()
    monkeypatch.setattr(job, "run_study", study)
    found = None
    try:
        found = run_job(prepared, Console(file=out, width=100), Engines({}))
    except StudyError as error:
        assert "the disk is full" in str(error)
    return found, out.getvalue()


def scoring(trials: Sequence[Record], ends: bool | Exception) -> Run:
    """A study of these trials, which then comes to its end or not."""

    def study(*_: Any, records: Any, listeners: Any, **__: Any) -> bool:
        for record in trials:
            ended = records.append(record, answers(record))
            for listener in listeners:
                listener.started(record.label, record.origin)
                listener.ended(ended)
        if isinstance(ends, Exception):
            raise ends
        return ends

    return study


TRIALS = [trial(Single("base"), 0.2), trial(BEST, 0.6), trial(OTHER, 0.3)]
FINAL = trial(BEST, 0.5, "held_out", origin="final")


@pytest.mark.slow
@pytest.mark.parametrize("ends", [True, False, StudyError("the disk is full")])
def test_the_report_is_written_however_the_study_ended(
    prepared: Prepared, ends: bool | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, printed = run(prepared, scoring([*TRIALS, FINAL], ends), monkeypatch)
    folder = prepared.records.folder
    assert found == (
        {True: "recommended", False: "stopped"}[ends] if isinstance(ends, bool) else None
    )
    assert bool(RecordsReader.read(folder).head().finished) == (ends is True)
    written = (folder / "report.md").read_text("utf-8")
    assert f"Recommended: {label(BEST, 'te', L)}" in written and "held-out items" in written
    assert (folder / "report.tsv").is_file() and (folder / "pareto.png").is_file()
    assert f">{label(BEST, 'te', L)}<" in (folder / "report.html").read_text("utf-8")
    assert f"records: {folder}/trials.jsonl" in printed
    assert "MLflow lacks 5 runs: python -m search.sync" in printed  # four, and the parent
    assert ("not finished; go on with: python -m search.run --resume" in printed) == (
        ends is not True
    )
    assert "warning: MLflow at http://***@127.0.0.1:9 does not answer" in printed
    assert "hunter2" not in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trials", "why"),
    [
        ([trial(BEST, 0.05), trial(OTHER, 0.0)], "has 3 of 60 search items right, which cannot"),
        ([trial(BEST, 0.6), trial(OTHER, 0.55)], "is not told from the other one"),
        ([trial(Single("base"), 0.6)], "no layer swap has been scored"),
    ],
)
def test_nothing_can_be_recommended(
    prepared: Prepared, trials: list[Record], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the first thing said; the best is held out all the same, under another name."""
    starred: list[Any] = []
    monkeypatch.setattr(
        files.figures, "draw", lambda trials, choice, *_, **__: starred.append(choice)
    )
    final = [trial(BEST, 0.05, "held_out", origin="final")]
    found, printed = run(prepared, scoring([*trials, *final], True), monkeypatch)
    text = " ".join(printed.split())
    assert found == "undecided"
    assert why in text
    assert text.index("no recommendation: ") < text.index(f"{prepared.config.family.name} / te: ")
    written = (prepared.records.folder / "report.md").read_text("utf-8")
    assert written.splitlines()[2].startswith("**No recommendation**: ") and why in written
    assert starred == [None]
    assert "Recommended" not in written and "recommended recipe" not in written
    rows = (prepared.records.folder / "report.tsv").read_text("utf-8").splitlines()[1:]
    roles = {row.split("\t")[0] for row in rows}
    assert not any("recommended" in role for role in roles)
    if len(trials) > 1:
        assert any("best on search items" in role for role in roles)


def test_nothing_to_report(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    found, printed = run(prepared, scoring([], False), monkeypatch)
    place = prepared.records.path
    assert found == "stopped"
    assert f"no trial has ended yet; start again with --resume {place}" in printed.replace("\n", "")
    assert not (prepared.records.folder / "report.md").exists()


@pytest.mark.slow
def test_a_finished_study_starts_nothing(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its table is shown again; failed trials that are tried again are something to start for."""
    records = prepared.records
    _, begun = run(prepared, scoring(TRIALS, True), monkeypatch)
    assert f"study {records.path} begins: " in begun.replace("\n", "")

    def never(*_: Any, **__: Any) -> bool:
        pytest.fail("nothing is left to run")

    found, printed = run(prepared, never, monkeypatch)
    assert found == "recommended" and "is finished: nothing is left to run" in printed
    assert label(BEST, "te", L) in printed
    for number in range(3):
        lost = replace(trial(BEST, 0.1), key=f"lost{number}", state="failed", reason="x", scores={})
        records.append(lost, [])
    started: list[bool] = []
    _, printed = run(prepared, lambda *_, **__: bool(started.append(True)), monkeypatch)
    assert started and "3 that failed in a row tried again" in printed


def test_a_report_that_cannot_be_written_hides_no_fault(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why the study stopped is to be seen all the same, and the table."""
    (prepared.records.folder / "report.md").mkdir()
    fault = StudyError("the disk is full")
    found, printed = run(prepared, scoring(TRIALS, fault), monkeypatch)
    assert found is None
    assert "warning: the report cannot be written: " in printed
    assert label(BEST, "te", L) in printed and "go on with: python -m search.run" in printed


@pytest.mark.slow
def test_what_the_study_is_asked_for(
    setup: Setup, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def study(schedule: Any, **given: Any) -> bool:
        asked.update(given, schedule=schedule)
        asked["records"].append(TRIALS[1], answers(TRIALS[1]))
        return False

    run(prepared, study, monkeypatch)
    assert asked["schedule"].trials == prepared.config.search.trials
    assert Single("base") in asked["baselines"]
    final = asked["final"]()  # by the scores at that time
    assert key(final[0], L) == key(BEST, L)


@pytest.mark.parametrize(
    ("lengths", "given"), [((128, 256), 256), ((256, 128), 256), ((None, None), None)]
)
def test_engines_can_serve_all_languages(
    prepared: Prepared, lengths: tuple[int | None, ...], given: int | None
) -> None:
    """By one context, as an engine of other settings would have to be built anew."""
    studies = [
        replace(prepared, name=name, max_model_len=length)
        for name, length in zip(("te", "sw"), lengths, strict=True)
    ]
    jobs = job.engines_for(studies).jobs
    assert list(jobs) == ["te", "sw"] and jobs["te"].options == jobs["sw"].options
    assert jobs["te"].options.max_model_len == given
    assert jobs["te"].options.seed == prepared.config.search.seed
    assert jobs["te"].sources == prepared.family.locations
    assert [o.name for o in jobs["te"].objectives] == ["mgsm", "lcpr"]
    assert not job.engines_for([]).jobs


@pytest.mark.parametrize(("gpus", "share"), [(0, 0.8), (0.5, 0.4), (1, 0.8), (2, 0.8)])
def test_an_engine_has_its_part_of_a_gpu(prepared: Prepared, gpus: float, share: float) -> None:
    search = prepared.config.search
    engine = search.engine.model_copy(update={"gpu_memory_utilization": 0.8})
    wanted = search.model_copy(update={"gpus_per_engine": gpus, "engine": engine})
    config = prepared.config.model_copy(update={"search": wanted})
    (made,) = job.engines_for([replace(prepared, config=config)]).jobs.values()
    assert made.options.gpu_memory_utilization == pytest.approx(share)


def test_the_schedule_keeps_the_password_of_a_database(setup: Setup) -> None:
    """A dump of the configuration hides it, and Optuna needs it."""
    config = setup.prepared().config
    url = "postgresql://me:hunter2@db/x"
    search = config.search.model_copy(update={"storage": url})
    found = Schedule.of("s", search)
    assert found.storage == url and found.trials == config.search.trials
    assert found.name == "s"


@pytest.mark.parametrize(
    ("uri", "option"),
    [
        ("", ""),
        ("sqlite:////else/m.db", " --tracking-uri sqlite:////else/m.db"),
        ("http://mlflow:5000", " --tracking-uri http://mlflow:5000"),
        ("http://me:pw@h:5000", " --tracking-uri http://***@h:5000"),
    ],
)
def test_the_commands_that_come_next(prepared: Prepared, uri: str, option: str) -> None:
    """They say where MLflow is if it is not where the command looks by itself."""
    folder = prepared.records.folder
    uri = uri or default_uri(folder.resolve().parent)
    out = io.StringIO()
    job._say_where(replace(prepared, uri=uri), Console(file=out), finished=False, unsent=3)
    records, lacks, best, look, resume = out.getvalue().splitlines()
    place = prepared.records.path
    assert records.startswith(f"records: {folder}/trials.jsonl")
    assert lacks == f"MLflow lacks 3 runs: python -m search.sync {place}{option}"
    assert best == f"which recipe, and why: python -m search.best {place}"
    assert look == f"look at it: python -m search.ui {place}{option}"
    assert resume.endswith(f"python -m search.run --resume {place}{option}")
    out = io.StringIO()
    job._say_where(replace(prepared, uri=uri), Console(file=out), finished=True, unsent=0)
    assert out.getvalue().splitlines() == [records, best, look]
    search = prepared.config.search.model_copy(
        update={"storage": "postgresql://me:pw@h/d", "address": "head:6379"}
    )
    out = io.StringIO()
    config = prepared.config.model_copy(update={"search": search})
    here = replace(prepared, uri=uri, config=config)
    job._say_where(here, Console(file=out), finished=False, unsent=0)
    named = " search.address=head:6379 'search.storage=postgresql://me:***@h/d'"
    assert out.getvalue().splitlines()[-1].endswith(f" {place}{option}{named}")


def test_the_commit_of_the_code_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = job._commit()
    assert commit == "" or len(commit) == 40
    monkeypatch.setattr(job, "__file__", str(tmp_path / "job.py"))  # installed, no checkout
    assert job._commit() == ""
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    assert job._commit() == ""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_after_a_fault_still_reports(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It comes while the report is made; nobody is waited for after it."""
    real = comparison.build

    def build(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), number)
        return real(*arguments, **options)

    monkeypatch.setattr(comparison, "build", build)
    before = signal.getsignal(number)
    try:
        _, printed = run(prepared, scoring(TRIALS, StudyError("the disk is full")), monkeypatch)
        assert ENDING.is_set()
    finally:
        ENDING.clear()
    assert (prepared.records.folder / "report.md").is_file()
    assert "not finished; go on with:" in printed and signal.getsignal(number) is before


def test_the_next_signal_ends_the_report(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "build", lambda *_, **__: os.kill(os.getpid(), 2))
    ENDING.set()  # the search was ended by one
    try:
        with pytest.raises(KeyboardInterrupt):
            run(prepared, scoring(TRIALS, False), monkeypatch)
    finally:
        ENDING.clear()
