"""A dry run tells what would be run and what it costs, and leaves everything as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from objectives import targets
from search.checkpoints.cache import root
from search.config import compose
from search.config.schema import Config
from search.records.head import StudyHead
from search.records.writer import RecordsWriter
from search.run import __main__ as run
from search.run import estimate
from search.run.prepare import check
from tests.search.checkpoints.adapters import Q, pair, write_adapter
from tests.search.run.setup import Setup
from tests.search.run.test_job import BEST, OTHER, trial


def say(setup: Setup, capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    """The lines of a command that must do nothing."""
    data = [f"--mgsm-dir={setup.mgsm}", f"--lcb-dir={setup.lcb}"]
    begins = ["--lang=te", f"--out={setup.out}", *data, *setup.overrides()]
    known = any(text.startswith(("--resume=/", "--extend=")) for text in more)
    assert run.main([*(() if known else begins), "--dry-run", *more]) == 0
    return capsys.readouterr().out.splitlines()


def snapshot(*folders: Path) -> dict[Path, tuple[int, bytes]]:
    """Every file with its time of change and bytes."""
    files = (file for folder in folders for file in folder.rglob("*"))
    return {f: (f.stat().st_mtime_ns, f.read_bytes() if f.is_file() else b"") for f in files}


def chosen(setup: Setup) -> Config:
    """What the command line configures."""
    data = {"objective.mgsm.data_dir": str(setup.mgsm), "objective.lcpr.data_dir": str(setup.lcb)}
    return compose.load(setup.overrides(), {"lang": "te", **data})


def study(setup: Setup, name: str = "earlier", lang: str = "te") -> RecordsWriter:
    """An earlier study of two recipes; of one of them half of the items."""
    head = StudyHead(name, {**chosen(setup).model_dump(mode="json"), "lang": lang}, layers=4)
    records = RecordsWriter.create(setup.out / name, head)
    for recipe in (BEST, OTHER):
        seconds = {"materialise": 0.5, "generate": 3.0, "score": 0.5, "total": 14.0}
        taken = {"seconds": seconds, "tokens": 2400, "host": "box:17"}
        records.append(trial(recipe, 0.5, **taken))
    return records


def test_all_is_said(setup: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    setup.more = ["search.trials=5", "search.baselines={ties: 3}"]
    setup.more += ["search.cpus_per_engine=0.01", "search.engines=1"]
    lines = say(setup, capsys, "--study=s")
    assert lines[0].startswith("dry run of s: nothing is written, no engine starts")
    said = "\n".join(lines)
    assert "\n  search: 5 recipes over 4 pairs, first te b" in said
    assert "\n  rival methods: 3 (ties 3)\n" in said
    assert "items: 10 for a recipe (mgsm 6, lcpr 4), 10 in the final table (mgsm 6, lcpr 4)" in said
    assert "\nengines: 1 on this machine; CPU cores each: 0.01, GPUs each: 0\n" in said
    assert "GPU hours" not in said
    assert lines[-1].startswith("a guess, as there is no earlier study of ")


@pytest.mark.parametrize("resumed", ["", "--resume", "--resume=auto", "--extend"])
def test_nothing_is_written(
    setup: Setup,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    resumed: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    setup.family["task"][0] = str(write_adapter(tmp_path / "lora", pair(Q(0), 64, 64)))
    records = study(setup)
    records.close()
    (setup.out / "mlflow.db").write_bytes(b"somebody's store")
    setup.overrides()
    before = snapshot(tmp_path)
    more = {
        "": ["--study=new"],
        "--resume": [f"--resume={records.folder}"],
        "--resume=auto": ["--resume=auto", "--study=earlier"],
        "--extend": [f"--extend={records.folder}", "--trials=7"],
    }[resumed]
    lines = say(setup, capsys, *more)
    after = snapshot(tmp_path)
    family = tmp_path / "family.yaml"  # the test's own
    assert {**after, family: b""} == {**before, family: b""}
    assert lines[1].startswith("the study goes on with " if resumed else "the study begins: ")
    assert not resumed or " 2 of " in lines[1]
    assert lines[-1].startswith("estimated from 2 trials of an earlier study of this family in ")
    assert not root().exists()  # where the adapter would be merged to


def test_the_cost_is_that_of_the_studies_most_alike(setup: Setup) -> None:
    setup.more = ["search.race=null"]
    study(setup).close()
    far = study(setup, "swahili", "sw")
    far.append(replace(trial(BEST, 0.5, "held_out"), tokens=10**9, seconds={"total": 1.0}))
    far.close()
    config = chosen(setup)
    cost = estimate.earlier(config, setup.out)
    assert cost is not None and cost.share == 1.0
    assert cost.tokens == pytest.approx(4800 / (2 * 120))  # 60 items of each objective
    assert cost.seconds == pytest.approx(8 / 240)
    assert cost.start == 20  # both on one engine
    other = config.model_copy(update={"lang": "sw"})
    assert estimate.earlier(other, setup.out).tokens > 10**6  # type: ignore[union-attr]
    family = config.family.model_copy(update={"name": "another"})
    assert estimate.earlier(config.model_copy(update={"family": family}), setup.out) is None


def test_a_study_of_another_objective_beside_them_changes_nothing(setup: Setup) -> None:
    """Reading it makes its targets this process's."""
    study(setup).close()
    config, known = chosen(setup), targets.TARGETS
    alone = estimate.earlier(config, setup.out)
    other = study(setup, "other")  # read after the first
    own = {"score": "perplexity", "objective": "code", "people": "perplexity"}
    head = {**other.head().config, "family": {**other.head().config["family"], "name": "other"}}
    other.rewrite(replace(other.head(), config=head, targets=[own]))
    other.close()
    assert estimate.earlier(config, setup.out) == alone
    assert targets.TARGETS == known


def test_where_nothing_is_left_nothing_is_estimated(
    setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    setup.more = ["search.trials=20", "search.baselines={}"]
    records = study(setup)
    for number in range(60):
        origin = ("baseline", "search", "final")[number % 3]
        ended = trial(BEST, 0.5, "held_out" if origin == "final" else "search")
        records.append(replace(ended, key=f"key{number}", origin=origin))
    records.close()
    _, *said = say(setup, capsys, f"--resume={records.folder}")
    assert said == ["the study has nothing left to run: 62 of 62 trials ended (62 scored)"]


def test_time_and_gpu_hours_follow_from_it(
    setup: Setup, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    study(setup).close()
    setup.more = ["search.gpus_per_engine=2", "search.engines=3", "search.cpus_per_engine=0.1"]
    said = "\n".join(say(setup, capsys, "--study=new"))
    assert "engines: 3 on this machine; CPU cores each: 0.1, GPUs each: 2" in said
    answers = float(said.partition("answers: ")[2].partition(";")[0].replace(",", ""))
    hours = (answers * 8 / 240 + 3 * 20) / 3600
    assert f"on 3 engines; {hours:.2g} engine hours\nGPU hours: about {2 * hours:.2g}\n" in said


def test_a_guess_follows_the_size_of_the_model(setup: Setup) -> None:
    config = chosen(setup)
    found = estimate.guess(config, check(config))
    assert found.share == 1 and found.seconds == pytest.approx(found.tokens / estimate.FASTEST)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--study=earlier"], "holds this study already"),
        (["--study=earlier", "search.trials=9"], "with another configuration"),
        (["--study=../x"], "cannot be a study's name"),
        (["space.b=[0,99]"], "space.b"),
    ],
)
def test_what_a_run_refuses_it_refuses(
    setup: Setup, capsys: pytest.CaptureFixture[str], more: list[str], why: str
) -> None:
    study(setup).close()
    setup.more = [text for text in more if not text.startswith("--")]
    flags = [text for text in more if text.startswith("--")]
    data = [f"--mgsm-dir={setup.mgsm}", f"--lcb-dir={setup.lcb}"]
    begins = ["--lang=te", f"--out={setup.out}", *data, *setup.overrides()]
    assert run.main([*begins, "--dry-run", *flags]) == 2
    assert why in capsys.readouterr().err
