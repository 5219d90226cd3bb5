"""Several languages in one command: which, in what order, and what one's fault does to the rest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from search.common.ending import ENDING
from search.common.errors import ConfigError, StudyError
from search.records.reader import RecordsReader
from search.run import __main__ as run
from search.run.languages import codes
from search.run.opening import finish
from search.run.prepare import Prepared
from tests.search.records.samples import record
from tests.search.run.setup import Setup

Study = Callable[[Prepared, object], str]


@pytest.fixture
def two(setup: Setup) -> Setup:
    """A family of two languages."""
    setup.family["language"] = {"te": setup.family["language"]["te"]}
    swahili = setup.folder / "sw"
    shutil.copytree(setup.family["language"]["te"][0], swahili)
    setup.family["language"]["sw"] = [str(swahili)]
    shutil.copy(setup.mgsm / "mgsm_te.tsv", setup.mgsm / "mgsm_sw.tsv")
    return setup


def plays(monkeypatch: pytest.MonkeyPatch, ends: dict[str, str | Exception]) -> list[str]:
    """Studies that end so; the languages whose study ran, in order."""
    ran: list[str] = []

    def study(prepared: Prepared, *_: object) -> str:
        ran.append(prepared.config.lang)
        end = ends[prepared.config.lang]
        if isinstance(end, BaseException):
            raise end
        if end != "stopped":
            prepared.records.append(record(state="failed", scores={}))
            finish(prepared.records)
        return end

    monkeypatch.setattr("search.run.job.run", study)
    return ran


def test_codes() -> None:
    assert codes("all", ["sw", "te"]) == ["sw", "te"]
    assert codes("te, sw", ["sw", "te"]) == ["te", "sw"]
    with pytest.raises(ConfigError, match=r"no expert for xx, \(nothing\); it has sw, te"):
        codes("te,xx,", ["sw", "te"])
    with pytest.raises(ConfigError, match="te is there twice"):
        codes("te,te", ["te"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ends", "status", "ran"),
    [
        ({"te": "recommended", "sw": "recommended"}, 0, ["te", "sw"]),
        ({"te": "undecided", "sw": "recommended"}, 3, ["te", "sw"]),
        ({"te": StudyError("the disk is full"), "sw": "undecided"}, 1, ["te", "sw"]),
        ({"te": ValueError("of ours"), "sw": "recommended"}, 1, ["te", "sw"]),
        ({"te": "stopped", "sw": "recommended"}, 130, ["te"]),
        ({"te": KeyboardInterrupt(), "sw": "recommended"}, 130, ["te"]),
    ],
)
def test_one_after_another(
    two: Setup,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ends: dict[str, str | Exception],
    status: int,
    ran: list[str],
) -> None:
    seen = plays(monkeypatch, ends)
    assert two.main("te,sw") == status
    assert seen == ran
    printed = capsys.readouterr().out
    for lang, end in ends.items():
        unfinished = lang not in ran or end not in ("recommended", "undecided")
        hint = f"{lang} is not finished; go on with: python -m search.run --resume "
        assert (hint + str(two.out / f"s-{lang}") in printed) == unfinished
    rows = (two.out / "summary.tsv").read_text("utf-8").splitlines()[1:]
    assert {tuple(row.split("\t")[:2]) for row in rows} == {("te", "s-te"), ("sw", "s-sw")}
    if ran == ["te"]:
        assert "not begun" in printed


@pytest.mark.slow
def test_a_signal_in_the_report_begins_no_other(
    two: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def study(prepared: Prepared, *_: object) -> str:
        ran.append(prepared.config.lang)
        finish(prepared.records)
        ENDING.set()
        return "recommended"

    monkeypatch.setattr("search.run.job.run", study)
    try:
        assert two.main("all") == 130 and len(ran) == 1
    finally:
        ENDING.clear()


def test_resume_auto_skips_what_is_finished(two: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def again() -> int:
        argv = ["--lang=te,sw", "--resume=auto", f"--out={two.out}", f"--mgsm-dir={two.mgsm}"]
        return run.main([*argv, f"--lcb-dir={two.lcb}", *two.overrides()])

    assert (plays(monkeypatch, {"te": "recommended", "sw": "stopped"}), again())[1] == 130
    seen = plays(monkeypatch, {"sw": "recommended"})
    assert again() == 3  # that of te holds no score, and so recommends nothing
    assert seen == ["sw"]
    names = sorted(p.name for p in two.out.iterdir() if p.is_dir())
    assert len(names) == 2 and all(RecordsReader.read(two.out / n).head().finished for n in names)


def test_all_faults_are_found_before_any_engine(
    two: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of each language, in one error; and no study is left of those that were right."""
    shutil.rmtree(Path(two.family["language"]["sw"][0]))
    assert two.main("te,sw") == 2
    assert "error: sw: 1 checkpoint that cannot be opened" in capsys.readouterr().err
    assert not [p for p in two.out.iterdir() if p.is_dir()]
    two.more = ["search.trials=-1"]
    assert two.main("te,sw") == 2
    said = capsys.readouterr().err
    assert said.count("search.trials") == 1
    two.more = []
    assert two.main("te,xx") == 2
    assert "no expert for xx; it has sw, te" in capsys.readouterr().err
