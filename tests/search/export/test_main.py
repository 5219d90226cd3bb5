"""The command that hands out a merge: from a study, an MLflow run, or a recipe; its bad inputs."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import constants
from safetensors.torch import load_file

from objectives.errors import DataError
from search import sync
from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import Family, fit
from search.common.errors import EngineError
from search.export import __main__ as export
from search.export import verify
from search.export.selection import open_run
from search.merging.arithmetic import combine
from search.merging.plan import plan
from search.merging.recipe import Recipe, Single, key, label, to_dict
from search.records.writer import RecordsWriter
from search.study.tracking.runs import default_uri
from tests.search.export.studies import BEST, OTHER, RECIPES, WORDS, L, make_study


def is_merge(out: Path, recipe: Recipe, family: Family) -> bool:
    fitted = fit(family.sources("te"))
    written = load_file(out / "model.safetensors")
    merged = plan(recipe, fitted.names, fitted.n_layers)
    wanted = {
        name: combine(mix, {s: fitted.sources[s].read(name) for s in mix.sources}, name)
        for name, mix in merged.items()
    }
    return set(written) == set(wanted) and all(torch.equal(written[n], wanted[n]) for n in wanted)


def test_a_recipe_in_words(
    family_file: Path, tiny_llama: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "merged"
    family = ["--family", str(family_file), "--lang", "te"]
    assert export.main([*family, "--recipe", WORDS, "--out", str(out)]) == 0
    assert f"written: {out}" in capsys.readouterr().out
    assert is_merge(out, BEST, tiny_llama)
    said = json.loads((out / "recipe.json").read_text())
    assert said["recipe"] == to_dict(BEST) and said["key"] == key(BEST, L)
    hashes = {part["source"]: part["files"] for part in said["checkpoints"]}
    weights = (Path(tiny_llama.task[0]) / "model.safetensors").read_bytes()
    assert hashes["task/0"] == {"model.safetensors": hashlib.sha256(weights).hexdigest()}
    assert list(hashes) == ["base", "task/0", "lang/1"] and hashes["base"] == {}
    models = yaml.safe_load((out / "mergekit.yaml").read_text())["slices"][0]["sources"]
    pair = tiny_llama.task[0], tiny_llama.language["te"][1]
    assert {source["model"] for source in models} == set(map(str, pair))
    again = ["--family", f"{out}/family.yaml", "--lang", "te", "--recipe", f"{out}/recipe.json"]
    assert export.main([*again, "--out", str(tmp_path / "again")]) == 0
    one, other = (tmp_path / n / "model.safetensors" for n in ("merged", "again"))
    assert one.read_bytes() == other.read_bytes()


def test_the_card_loads_the_export(
    family_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Its Python is run as it stands, by transformers alone."""
    family = ["--family", str(family_file), "--lang", "te", "--recipe", WORDS]
    assert export.main([*family, "--out", str(tmp_path / "merged")]) == 0
    card = (tmp_path / "merged" / "README.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert "python -m vllm.entrypoints.openai.api_server --model ./merged " in card
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    capsys.readouterr()
    exec(code, names)
    assert capsys.readouterr().out.startswith("2 + 3 =")
    model, weights = names["model"], load_file(tmp_path / "merged" / "model.safetensors")
    assert model.dtype == torch.bfloat16
    state = model.state_dict()
    assert set(state) == set(weights) and all(torch.equal(state[n], weights[n]) for n in state)


@pytest.mark.parametrize(
    ("arguments", "recipe"),
    [
        ([], BEST),
        (["--recommended"], BEST),
        (["--trial", key(OTHER, L)], OTHER),
        (["--trial", key(OTHER, L)[:6]], OTHER),
        (["--trial", key(Single("lang/1"), L)], Single("lang/1")),
    ],
)
def test_a_trial_of_a_study(
    study: Path, tiny_llama: Family, tmp_path: Path, arguments: list[str], recipe: Recipe
) -> None:
    out = tmp_path / "out"
    assert export.main(["--study", str(study), *arguments, "--out", str(out)]) == 0
    assert is_merge(out, recipe, tiny_llama)
    card = (out / "README.md").read_text("utf-8")
    assert f"| MGSM accuracy | {100 * RECIPES[recipe]:.1f}% (" in card and "From study `s`" in card
    assert ("Highest search accuracy" in card) == (recipe == BEST)
    assert ("| 50.0% (40.0 to 60.0; 60) |" in card) == (recipe == BEST)  # held out


@pytest.fixture(scope="module")
def sent(study: Path, mlflow_store: Path) -> tuple[str, dict[str, str]]:
    """The study in MLflow: the store, and run name -> run id."""
    from mlflow.tracking import MlflowClient

    shutil.copy(mlflow_store, study.parent)
    uri = default_uri(study.parent)
    records = RecordsWriter.open(study)
    assert sync.send(records, uri) == 0
    records.close()
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("layer-swap/tiny/te")
    runs = client.search_runs([experiment.experiment_id])
    return uri, {run.info.run_name: run.info.run_id for run in runs}


@pytest.mark.slow  # makes MLflow's store
@pytest.mark.parametrize("reachable", [True, False])
@pytest.mark.parametrize(
    ("run", "recipe"),
    [("s", BEST), (label(OTHER, "te", L), OTHER), (label(BEST, "te", L) + " (held-out)", BEST)],
)
def test_an_mlflow_run(
    sent: tuple[str, dict[str, str]], study: Path, tiny_llama: Family, tmp_path: Path,
    run: str, recipe: Recipe, reachable: bool,
) -> None:  # fmt: skip
    """With the study's folder, and without it from what MLflow holds: the same files."""
    uri, ids = sent
    common = ["--run", ids[run], "--tracking-uri", uri]
    if not reachable:
        study.rename(study.with_name("away"))
    try:
        assert export.main([*common, "--out", str(tmp_path / "out")]) == 0
        verified = [*common, "--verify", "--out", str(tmp_path / "verified")]
        found, _ = open_run(uri, ids[run])
        assert (found.config is not None) == (found.records is not None) == reachable
        if not reachable:
            assert export.main(verified) == 2
    finally:
        if not reachable:
            study.with_name("away").rename(study)
    assert is_merge(tmp_path / "out", recipe, tiny_llama)
    folder = ["--study", str(study), "--trial", key(recipe, L)]
    assert export.main([*folder, "--out", str(tmp_path / "again" / "out")]) == 0
    for file in ("README.md", "recipe.json", "family.yaml"):
        one, other = (tmp_path / f / file for f in ("out", "again/out"))
        assert one.read_text("utf-8") == other.read_text("utf-8")


def test_an_export_is_a_base_again(family_file: Path, study: Path, tmp_path: Path) -> None:
    """Its own recipe.json and card do not go along as the base's."""
    assert export.main(["--study", str(study), "--out", str(tmp_path / "one")]) == 0
    data = yaml.safe_load(family_file.read_text()) | {"base": str(tmp_path / "one")}
    (tmp_path / "next.yaml").write_text(yaml.safe_dump(data))
    command = ["--family", str(tmp_path / "next.yaml"), "--lang", "te", "--recipe", WORDS]
    assert export.main([*command, "--out", str(tmp_path / "two")]) == 0
    assert json.loads((tmp_path / "two" / "recipe.json").read_text())["study"] == ""
    assert Checkpoint.open(tmp_path / "two").config == Checkpoint.open(tmp_path / "one").config


ALIKE = {Single("lang/1"): 0.2, BEST: 0.05, OTHER: 0.0}


def test_what_is_no_recommendation_is_written_only_if_forced(
    family_file: Path, tiny_llama: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(tmp_path / "s", family_file, ALIKE)
    for arguments in ([], ["--recommended"]):
        out = tmp_path / "out"
        assert export.main(["--study", str(study), *arguments, "--out", str(out)]) == 2
        refused = capsys.readouterr().err
        assert refused.startswith("error: study s has no recommendation: the best swap, te b1 u1")
        assert "cannot be told from none" in refused and "--force" in refused and not out.exists()
    for name, arguments in (("a", ["--force"]), ("b", ["--trial", key(BEST, L)])):
        out = tmp_path / name
        assert export.main(["--study", str(study), *arguments, "--out", str(out)]) == 0
        assert is_merge(out, BEST, tiny_llama)
        assert "no recommendation: the best swap" in capsys.readouterr().out
        card = (out / "README.md").read_text("utf-8")
        assert "**The study recommends no recipe**: the best swap, te b1 u1" in card
    other = ["--trial", key(OTHER, L), "--out", str(tmp_path / "c")]
    assert export.main(["--study", str(study), *other]) == 0
    assert "recommends no recipe" not in (tmp_path / "c" / "README.md").read_text("utf-8")


@pytest.mark.slow  # makes MLflow's store
def test_what_mlflow_alone_knows_to_be_no_recommendation(
    family_file: Path, mlflow_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow.tracking import MlflowClient

    study = make_study(tmp_path / "s", family_file, ALIKE)
    shutil.copy(mlflow_store, tmp_path)
    uri = default_uri(tmp_path)
    records = RecordsWriter.open(study)
    records.rewrite(replace(records.head(), layers=L))
    assert sync.send(records, uri) == 0
    records.close()
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("layer-swap/tiny/te")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run.info.run_id for run in runs if run.info.run_name == "s"]
    shutil.rmtree(study)
    command = ["--run", parent, "--tracking-uri", uri, "--out", str(tmp_path / "out")]
    assert export.main(command) == 2
    assert "has no recommendation: the best swap, te b1 u1" in capsys.readouterr().err
    assert export.main([*command, "--force"]) == 0
    assert "recommends no recipe" in (tmp_path / "out" / "README.md").read_text("utf-8")


FAMILY = ["--family", "F", "--lang", "te", "--recipe"]
KEYS = sorted({key(recipe, L) for recipe in RECIPES})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--study", "nowhere"], "nowhere holds no study"),
        (["--study", "S", "--trial", "zzz"], f"study s has no trial zzz; it has {', '.join(KEYS)}"),
        (["--study", "S", "--trial", ""], f"--trial  may be {', '.join(KEYS)}: write more of it"),
        (["--study", "EMPTY"], "no recommended recipe, because it has scored no layer swap yet"),
        (["--study", "EMPTY", "--verify", "--trial", KEYS[0]], "study empty has no trial"),
        (["--run", "R", "--tracking-uri", "sqlite:///no.db"], "there is no MLflow store no.db"),
        (["--run", "R", "--tracking-uri", "http://127.0.0.1:9"], "127.0.0.1:9 does not answer"),
        ([*FAMILY, "pair=0,0 b=9 u=1"], "9 + 1 + 0 + 0 = 10 exceeds the model's 4 layers"),
        ([*FAMILY, "pair=2,0 b=9 u=1"], "there is no task/2: the family has base, task/0, task/1"),
        ([*FAMILY, "pair=0,0 b=1"], "u: missing; such as pair=0,0 b=4 u=1"),
        ([*FAMILY, "missing.json"], "recipe file missing.json cannot be read"),
        ([*FAMILY, "list.json"], "list.json holds no recipe"),
        ([*FAMILY, "kind.json"], "kind.json: kind = 'x' is not one of swap"),
        (["--family", "F", "--trial", "a"], "3 faults on the command line"),
        (["--study", "S", "--lang", "te"], "--lang belongs to --family"),
        (["--study", "S", "--trial", "a", "--recommended"], "exclude each other"),
        (["--study", "S", "--verify", "0"], "--verify 0: at least one item is needed"),
        (["--study", "S", "--out", "there"], "there exists: name another folder"),
    ],
)  # fmt: skip
def test_bad_input(
    study: Path, family_file: Path, tmp_path: Path, arguments: list[str], message: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """One clear error, status 2, and nothing is written."""
    make_study(tmp_path / "empty", family_file, {Single("base"): 0.1})
    (tmp_path / "there").mkdir()
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "kind.json").write_text('{"recipe": {"kind": "x"}}')
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    names = {"S": str(study), "EMPTY": "empty", "F": str(family_file)}
    given = [names.get(argument, argument) for argument in arguments]
    assert export.main(["--out", "out", *given]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and message in captured.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_no_such_run(
    sent: tuple[str, dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow.tracking import MlflowClient

    uri = sent[0]
    stranger = MlflowClient(uri).create_run("0").info.run_id
    for run, message in (
        ("0" * 32, f"error: run {'0' * 32} cannot be read from sqlite://"),
        (stranger, f"error: run {stranger} at {uri} is no run of a study of ours"),
    ):
        command = ["--run", run, "--tracking-uri", uri, "--out", str(tmp_path / "out")]
        assert export.main(command) == 2
        assert message in capsys.readouterr().err


def test_disk_space_is_checked_before_weights_are_read(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    monkeypatch.setattr(Checkpoint, "read", None)
    assert export.main(["--study", str(study), "--out", str(tmp_path / "out")]) == 2
    assert "error: no disk space for" in capsys.readouterr().err


@pytest.mark.parametrize(("change", "status"), [("", 0), ("?", 1)])
def test_verify(
    study: Path, tmp_path: Path, change: str, status: int,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """What is asked, and what is made of the answers; a real engine answers in tests/e2e."""
    jobs: list[Any] = []

    def answer(job: Any) -> list[list[str]]:
        jobs.append(json.loads(json.dumps(job)))
        return [
            [f"{i} {BEST}" + (change if i == 2 else "") for i in range(len(batch))]
            for batch in job["batches"]
        ]

    monkeypatch.setattr(verify, "_run", answer)
    out = tmp_path / "out"
    assert export.main(["--study", str(study), "--verify", "4", "--out", str(out)]) == status
    printed = capsys.readouterr().out
    assert f"verified: {4 - status} of 4 answers equal the trial's" in printed
    assert ("q2: from character" in printed) == bool(change)
    (job,) = jobs
    assert job["folder"] == str(out)
    (batch,) = job["batches"]  # what the trial's engine had together
    solved = [request for request in batch if request["sampling"]["temperature"] == 0]
    assert len({request["prompt"] for request in solved}) >= 4
    assert all(request["prompt"].startswith("Q: ") for request in solved)
    wanted = {"max_tokens": 96, "temperature": 0.0, "top_p": 1.0, "stop": ["Q:"], "beam_width": 1}
    assert all(request["sampling"] == wanted for request in solved)


def test_verify_needs_the_tasks_data(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(*_: object) -> None:
        raise DataError("mgsm_te.tsv is not there")

    monkeypatch.setattr(verify, "build_objectives", gone)
    assert export.main(["--study", str(study), "--verify", "--out", str(tmp_path / "out")]) == 2
    assert "--verify asks what the study asked: mgsm_te.tsv is not" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_engine_that_does_not_start(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(job: Any) -> list[str]:
        raise EngineError("no engine could answer from the export")

    monkeypatch.setattr(verify, "_run", fail)
    command = ["--study", str(study), "--verify", "--out", str(tmp_path / "out")]
    assert export.main(command) == 1
    assert "error: no engine could answer" in capsys.readouterr().err
    assert (tmp_path / "out" / "config.json").exists()


def test_an_export_that_is_there_is_listed(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "merged"
    assert export.main(["--study", str(study), "--out", str(out)]) == 0
    capsys.readouterr()
    assert export.main(["--out", str(out), "--push", "org/merged", "--dry-run"]) == 0
    note, *lines, total = capsys.readouterr().out.splitlines()
    assert note == "note: folders of this machine are named in family.yaml, mergekit.yaml"
    sizes = {name: int(size.replace(",", "")) for size, name in map(str.split, lines)}
    assert sizes == {file.name: file.stat().st_size for file in out.iterdir()}
    assert total.split() == [
        *(f"{sum(sizes.values()):,}", "bytes", "in", str(len(sizes)), "files,"),
        *("for", "org/merged", "(private)"),
    ]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "one of --study, --run, --family says what to export"),
        (["--push=org/x", "--verify", "--lang=te"], "--verify is of a new export"),
        (["--push=merged"], "write ORG/NAME"),
        (["--public", "--register=x"], "--public is of --push"),
        (["--study=s", "--push=org/x", "--dry-run"], "of an export that is there"),
        (["--register=x", "--tracking-uri=http://127.0.0.1:9"], "--register at a server needs"),
        (["--study=s", "--push="], "--push is empty: name where to"),
        (["--study=s", "--register="], "--register is empty: name where to"),
        (["--register=a/b"], "--register a/b: MLflow takes no such name"),
        (["--push=org/x", "--dry-run"], "no list of its files"),
        (["--push=org/x"], "HF_HUB_OFFLINE is set"),
        (["--study=s", "--push=org/x"], "HF_HUB_OFFLINE is set"),
        (["--study=s", "--register=x"], "there is no MLflow store"),
    ],
)
def test_nothing_is_handed_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], why: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "out").mkdir()
    assert export.main([*arguments, "--out", "out"]) == 2
    assert why in capsys.readouterr().err


@pytest.mark.slow  # makes MLflow's store
def test_an_export_becomes_a_version_of_a_model(
    sent: tuple[str, dict[str, str]], study: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """With the export, then of one that is there; each leads to the trial's held-out run."""
    from mlflow.tracking import MlflowClient

    uri, ids = sent
    out = tmp_path / "merged"
    register = ["--out", str(out), "--register", "te-math"]
    assert export.main(["--study", str(study), *register]) == 0
    assert f"registered: te-math, version 1, in MLflow at {uri}" in capsys.readouterr().out
    assert export.main([*register, "--tracking-uri", uri]) == 0
    assert "version 2" in capsys.readouterr().out
    first, second = (MlflowClient(uri).get_model_version("te-math", n) for n in ("1", "2"))
    assert first.source == second.source == out.as_uri()
    assert first.tags == second.tags
    assert first.tags["study"] == "s" and first.tags["label"] == label(BEST, "te", L)
    assert json.loads(first.tags["recipe"]) == to_dict(BEST)
    assert first.tags["held_out_accuracy"] == "50" and first.tags["card"] == f"{out}/README.md"
    assert first.run_id == ids[label(BEST, "te", L) + " (held-out)"]
    assert first.description.startswith("---\n") and "MGSM accuracy" in first.description
    missing = ["--tracking-uri", f"sqlite:///{tmp_path}/none.db"]
    assert export.main([*register, *missing]) == 2
    assert "there is no MLflow store" in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()
