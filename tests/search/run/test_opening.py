"""New, resumed, extended and imported studies: what a command may change, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from objectives.types import Score
from search.checkpoints.family import Family
from search.merging.recipe import LayerSwap, Recipe, Single, from_dict, key, label
from search.records.head import StudyHead
from search.records.reader import RecordsReader
from search.records.record import Record
from search.records.writer import RecordsWriter
from search.run import __main__ as run
from search.run.prepare import Prepared
from tests.search.records.samples import record
from tests.search.run.setup import Setup

L = 4


@pytest.fixture
def setup(tmp_path: Path, tiny_llama: Family, ran: list[Prepared]) -> Setup:
    """A family of this test's own, to be changed."""
    made = Setup(tmp_path, tiny_llama)
    copy = tmp_path / "math"
    shutil.copytree(str(tiny_llama.task[0]), copy)
    made.family["task"] = [str(copy)]
    return made


def add_trials(study: Path, recipes: list[tuple[Recipe, float]]) -> None:
    records = RecordsWriter.open(study)
    for recipe, value in recipes:
        scores = {name: Score(value, value, value, 6, 6) for name in ("accuracy", "lcpr")}
        records.append(
            Record(
                number=0,
                key=key(recipe, L),
                split="search",
                state="scored",
                origin="search",
                label=label(recipe, "te", L),
                recipe=recipe,
                scores=scores,
            )
        )
    records.close()


def head(study: Path) -> StudyHead:
    return RecordsReader.read(study).head()


def error(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_study_yaml_says_what_was_searched(setup: Setup) -> None:
    assert setup.main() == 0
    about = head(setup.out / "s")
    assert about.layers == L and {"python", "torch"} <= about.versions.keys()
    assert set(about.family) == {"base", "task/0", "lang/0", "lang/1"}
    assert len({entry["fingerprint"] for entry in about.family.values()}) == 4
    assert set(about.data) == {"mgsm", "lcpr"} and not about.finished


def _weights(setup: Setup) -> None:
    file = setup.folder / "math" / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.2.mlp.up_proj.weight"] *= 1.5
    save_file(tensors, file)


def _answer(setup: Setup) -> None:
    file = setup.mgsm / "mgsm_te.tsv"
    first, *rest = file.read_text("utf-8").splitlines()
    file.write_text("\n".join([first.partition("\t")[0] + "\t77", *rest]) + "\n", "utf-8")


def _prompt(setup: Setup) -> None:
    (file,) = (setup.lcb / "crosslingual").rglob("*.csv")
    file.write_text(file.read_text("utf-8").replace("1", "one"), "utf-8")


CHANGES = [
    (_weights, r"1 thing changed.*\n  model task/0: [0-9a-f]{16} before, [0-9a-f]{16} now"),
    (_answer, r"1 thing changed.*\n  data of mgsm: "),
    (_prompt, r"1 thing changed.*\n  data of lcpr: "),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
@pytest.mark.parametrize("command", ["--resume", "--extend"])
def test_changed_models_and_data_are_refused(
    setup: Setup,
    ran: list[Prepared],
    capsys: pytest.CaptureFixture[str],
    command: str,
    change: Any,
    message: str,
) -> None:
    import re

    assert setup.main() == 0
    study = setup.out / "s"
    add_trials(study, [(LayerSwap(0, 0, 1, 1, 0, 0), 0.5)])
    before = (study / "study.yaml").read_bytes()
    change(setup)
    more = ["--trials=3"] if command == "--extend" else []
    assert run.main([command, str(study), *more]) == 2
    assert re.search(message, text := error(capsys)), text
    assert (study / "study.yaml").read_bytes() == before and len(ran) == 1


def test_files_may_change_before_the_first_trial(setup: Setup) -> None:
    assert setup.main() == 0
    before = head(setup.out / "s").data["mgsm"]
    _answer(setup)
    assert run.main(["--resume", str(setup.out / "s")]) == 0
    assert head(setup.out / "s").data["mgsm"] != before


def test_a_copy_is_the_same(setup: Setup) -> None:
    assert setup.main() == 0
    add_trials(setup.out / "s", [(LayerSwap(0, 0, 1, 1, 0, 0), 0.5)])
    shutil.copytree(setup.folder / "math", setup.folder / "moved")
    shutil.rmtree(setup.folder / "math")
    shutil.copytree(setup.folder / "moved", setup.folder / "math")
    assert run.main(["--resume", str(setup.out / "s")]) == 0


def test_only_where_it_runs_may_change(
    setup: Setup, ran: list[Prepared], capsys: pytest.CaptureFixture[str]
) -> None:
    assert setup.main() == 0
    study = str(setup.out / "s")
    assert run.main(["--resume", study, "search.engines=3"]) == 0
    assert ran[-1].config.search.engines == 3 and ran[-1].config.search.trials == 60
    assert run.main(["--resume", study, "search.seed=3", "search.engines=3"]) == 2
    assert "leave out search.seed=3; only search.address" in error(capsys)
    assert run.main(["--resume", study, "search.engines=none at all"]) == 2
    assert "search.engines = 'none at all'" in error(capsys)


def test_auto_begins_then_goes_on(
    setup: Setup, ran: list[Prepared], capsys: pytest.CaptureFixture[str]
) -> None:
    setup.more = ["--resume=auto"]
    assert setup.main(study=None) == setup.main(study=None) == 0
    (study,) = setup.out.iterdir()
    assert study.name.startswith("tiny-llama-te-") and ran[0].name == ran[1].name == study.name
    setup.more = ["--resume=auto", "search.engines=2"]
    assert setup.main(study=None) == 0 and ran[2].name == study.name
    setup.more = ["--resume=auto", "search.trials=7"]
    assert setup.main(study=None) == 0 and ran[3].name != study.name
    setup.more = ["--resume=auto"]
    assert setup.main() == 0
    setup.more = ["--resume=auto", "search.trials=7", "space.b=[0,1]"]
    assert setup.main() == 2
    text = error(capsys)
    assert "search.trials (60 there, 7 here)" in text and "space.b (None there, " in text
    assert "--extend" in text


@pytest.mark.slow
@pytest.mark.parametrize("named", [None, "s"])
def test_what_differs_behind_a_long_beginning_is_another_configuration(
    setup: Setup, ran: list[Prepared], capsys: pytest.CaptureFixture[str], named: str | None
) -> None:
    """Values are compared whole, however long: MLflow's limit is MLflow's alone."""
    stops = [f"stop{number:04}" for number in range(900)]
    for last in ("this", "that"):
        listed = ",".join([*stops, last])
        setup.more = ["--resume=auto", f"objective.mgsm.stop=[{listed}]"]
        code = setup.main(study=named)
    if named:
        assert code == 2 and "objective.mgsm.stop (" in error(capsys)
    else:
        assert code == 0 and ran[0].name != ran[1].name


def test_extend_adds_to_the_budget(
    setup: Setup, ran: list[Prepared], capsys: pytest.CaptureFixture[str]
) -> None:
    from search.run.opening import finish

    assert setup.main() == 0
    study = setup.out / "s"
    records = RecordsWriter.open(study)
    records.append(record())
    finish(records)
    records.close()
    assert head(study).finished
    assert run.main(["--extend", str(study)]) == 2
    assert "--extend needs --trials N" in error(capsys)
    for _ in range(2):
        assert run.main(["--extend", str(study), "--trials=5", "search.engines=3"]) == 0
    assert ran[-1].config.search.trials == 70 and ran[-1].config.search.engines == 3
    about = head(study)
    assert [(e["trials"], e["budget"]) for e in about.extensions] == [(5, 65), (5, 70)]
    assert (
        about.config["search"]["trials"] == 70
        and about.config["search"]["engines"] == ran[0].config.search.engines
    )
    assert not about.finished
    for trials in (60, 65, 70):  # as the job that began it does when it is restarted
        setup.more = ["--resume=auto", f"search.trials={trials}"]
        assert setup.main() == 0 and ran[-1].config.search.trials == 70
    setup.more = ["--resume=auto", "search.trials=80"]
    assert setup.main() == 2 and "search.trials (70 there, 80 here)" in error(capsys)
    assert run.main(["--extend", str(study), "--trials=5", "--resume", str(study)]) == 2
    assert "leave out --resume" in error(capsys)


@pytest.mark.slow
def test_import_names_what_it_took(setup: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    assert setup.main(study="old") == 0
    good, better = LayerSwap(0, 1, 1, 0, 1, 0, 0.7, 0.3), LayerSwap(0, 0, 1, 1, 0, 0)
    plain = LayerSwap(0, 0, 0, 1, 0, 0)
    found: list[tuple[Recipe, float]] = [(Single("base"), 0.9), (plain, 0.1)]
    add_trials(setup.out / "old", [*found, (good, 0.5), (better, 0.6)])
    setup.more = ["--import", str(setup.out / "old"), "space.u=[1,2]"]
    assert setup.main() == 0
    about = head(setup.out / "s").imported
    recipes = [from_dict(entry["recipe"]) for entry in about["recipes"]]
    assert [key(r, L) for r in recipes] == [key(better, L), key(plain, L)]
    assert about["id"] == head(setup.out / "old").id
    assert about["left_out"] == [label(good, "te", L)]  # u = 0 is not searched here

    setup.more = ["--import", str(setup.out / "nowhere")]
    assert setup.main(study="new") == 2
    assert "nowhere" in error(capsys) and not (setup.out / "new").exists()
    setup.more = ["--import", str(setup.out / "old"), "space.b=[2,2]"]
    assert setup.main(study="new") == 2
    assert "none of its 3 scored layer swaps lies in" in error(capsys)
    assert not (setup.out / "new").exists()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses of Optuna's storages that are opened; none of them is."""
    found: list[str] = []
    monkeypatch.setattr("search.run.prepare.open_storage", lambda url, _: found.append(url))
    return found


@pytest.mark.slow
def test_a_strangers_addresses_are_not_asked(
    setup: Setup,
    ran: list[Prepared],
    opened: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Passwords go where this command line or environment says; a foreign cluster runs code."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    theirs, study = "postgresql://me:***@theirs/db", setup.out / "s"
    setup.more = [f"search.storage={theirs}", "search.address=ray://theirs:10001"]
    assert setup.main() == 0 and opened.pop() == theirs
    assert ran.pop().config.search.address == "ray://theirs:10001"  # the command line named it
    (study / "mlflow.json").write_text('{"uri": "http://theirs:5000", "tags": {}}')
    resume = ["--resume", str(study)]
    assert run.main(resume) == 2
    assert f"s/study.yaml keeps Optuna's study in {theirs}, which" in error(capsys)
    assert run.main([*resume, f"search.storage={theirs}"]) == 2
    assert "s/mlflow.json says that the study is sent to http://theirs:5000" in error(capsys)
    assert opened == ran == []
    for named in ([f"search.storage={theirs}", "--tracking-uri=http://theirs:5000"], []):
        assert run.main([*resume, *(named or ["--trust-addresses"])]) == 0
        assert opened.pop() == theirs and ran[-1].uri == "http://theirs:5000"
        assert ran.pop().config.search.address is None  # whatever is trusted
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ours:5000")
    assert run.main([*resume, "search.storage=null", "search.address=ours:6379"]) == 0
    assert (ran[-1].uri, ran[-1].config.search.address) == ("http://ours:5000", "ours:6379")
    RecordsWriter.open(study).close()


def test_no_password_is_kept(
    setup: Setup,
    ran: list[Prepared],
    opened: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    setup.more = ["search.storage=postgresql://me:hunter2@db/optuna"]
    assert setup.main() == 0
    study = setup.out / "s"
    assert opened == ["postgresql://me:hunter2@db/optuna"]
    assert head(study).config["search"]["storage"] == "postgresql://me:***@db/optuna"
    for file in study.rglob("*"):
        assert not file.is_file() or b"hunter2" not in file.read_bytes()
    assert run.main(["--resume", str(study), "--trust-addresses"]) == 0
    assert opened[1:] == ["postgresql://me:***@db/optuna"]
    setup.more = ["search.storage=oracle://me:hunter2@db/optuna"]
    assert setup.main(study="other") == 2
    assert "write sqlite:///FILE" in (text := error(capsys)) and "hunter2" not in text
