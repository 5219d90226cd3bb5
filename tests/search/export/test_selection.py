"""What is exported: recipes in words and in files, trials by key, studies from MLflow's runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.checkpoints.family import Family
from search.common.errors import ConfigError, RecipeError, StudyError
from search.export import selection
from search.export.selection import Study, find_trial, held_out, open_study, read_recipe
from search.merging.recipe import LayerSwap, Single, key, to_dict
from search.records.head import StudyHead
from search.records.record import Record, Stopped
from search.records.writer import RecordsWriter
from search.study.tracking.reading import SentRun
from search.study.tracking.runs import few_metrics_of
from tests.search.export.studies import BEST, OTHER, RECIPES, WORDS, L, N, trial


@pytest.mark.parametrize(
    ("text", "recipe"),
    [
        (WORDS, BEST),
        ("pair=1,0 b=2 u=1", LayerSwap(1, 0, 2, 1, 0, 0)),
        ("pair=0+1,0 b=0 u=0 t_u=2 w_lang=1 w_task=3", LayerSwap((0, 1), 0, 0, 0, 0, 2, 3.0, 1.0)),
        ("pair=0,0 b=1 u=1 t_b=2 w_task=.25 non_layer=lang ramp=linear",
         LayerSwap(0, 0, 1, 1, 2, 0, 0.25, 0.75, "lang", ramp="linear")),
    ],
)  # fmt: skip
def test_words_of_a_recipe(text: str, recipe: LayerSwap) -> None:
    assert read_recipe(text) == recipe


def test_all_faults_of_a_recipe_at_once() -> None:
    with pytest.raises(RecipeError) as error:
        read_recipe("pair=0 b=x u=1 u=2 depth=3 w_lang=1.5 t_u")
    assert str(error.value).splitlines()[0].startswith("6 faults in recipe 'pair=0 b=x")
    for fault in (
        "pair=0: pair must be two numbers of experts",
        "b=x: b must be a whole number",
        "u=2: u is given twice",
        "depth=3: write NAME=VALUE; names are pair, b",
        "w_lang=1.5 without w_task must lie in [0, 1]",
        "t_u: write NAME=VALUE",
    ):
        assert fault in str(error.value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "1 fault in recipe '':\n  pair, b, u: missing"),
        ("pair=0,0,1 b=1 u=1", "pair=0,0,1: pair must be two numbers"),
        ("pair=0+,0 b=1 u=1", "pair=0+,0: pair must be two numbers"),
        ("pair=0,0 b=1.5 u=1", "b=1.5: b must be a whole number"),
        ("pair=0,0 b= u=1", "b=: b must be a whole number"),
        ("pair=0,0 b=1 u=1 w_task=-.1", "w_task=-0.1 without w_lang must lie in [0, 1]"),
        ("pair=0,0 b=1 u=1 w_lang=nan", "w_lang=nan without w_task must lie in [0, 1]"),
        ("pair=0,0 b=1 u=1 =1", "=1: write NAME=VALUE"),
    ],
)
def test_a_fault_of_a_recipe(text: str, fault: str) -> None:
    with pytest.raises(RecipeError) as error:
        read_recipe(text)
    assert fault in str(error.value)


@pytest.mark.parametrize("share", ["0", "1"])
def test_a_whole_weight_is_no_fault(share: str) -> None:
    found = read_recipe(f"pair=0,0 b=1 u=1 w_lang={share}")
    assert isinstance(found, LayerSwap) and found.w_task == 1 - float(share)


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_recipe_in_a_file(tmp_path: Path, wrapped: bool) -> None:
    """As an export writes it, and alone."""
    data: dict[str, Any] = to_dict(OTHER)
    (tmp_path / "r.json").write_text(json.dumps({"recipe": data, "key": "k"} if wrapped else data))
    assert read_recipe(str(tmp_path / "r.json")) == OTHER


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "recipe file .*r.json cannot be read"),
        (b"{", "recipe file .*r.json cannot be read"),
        (b"\xff\xfe", "recipe file .*r.json cannot be read"),
        (b"[]", "r.json holds no recipe: name the recipe.json of an export"),
        (b'{"recipe": 3}', "r.json holds no recipe"),
        (b'{"kind": ["swap"]}', "r.json: kind = .* is not one of"),
        (b'{"kind": "single", "source": 3}', "r.json: not a single recipe: source: Input should"),
        (b"[" * 100_000, "recipe file .*r.json cannot be read"),
        (b"{}", "r.json: kind = None is not one of"),
    ],
)
def test_a_file_without_a_recipe(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        read_recipe(str(tmp_path / "r.json"))


def of(*trials: Record) -> Study:
    family = Family("tiny", "base", ("math",), {"te": ("te",)}, {})
    return Study("s", "te", family, 0.02, trials)


FIRST, SECOND = trial(BEST, 0.4), trial(BEST, 0.6, number=3)
FINAL = trial(BEST, 0.5, "held_out", number=4)


def test_a_trial_is_found_by_the_beginning_of_its_key() -> None:
    """The last one on search items; a recipe that was only held out is found as well."""
    study = of(FIRST, FINAL, SECOND, trial(OTHER, 0.1))
    assert find_trial(study, FIRST.key) is find_trial(study, FIRST.key[:8]) is SECOND
    assert find_trial(of(FINAL), FINAL.key) is FINAL
    assert held_out(study, FIRST.key) is FINAL and held_out(study, key(OTHER, L)) is None


def test_no_trial_or_several() -> None:
    with pytest.raises(StudyError, match="study s has no trial x; it has none yet and so on"):
        find_trial(of(), "x")
    both = ", ".join(sorted([FIRST.key, key(OTHER, L)]))
    with pytest.raises(StudyError, match=f"--trial  may be {both}: write more of it"):
        find_trial(of(FIRST, trial(OTHER, 0.1)), "")


def test_a_study_from_its_folder(study: Path, tiny_llama: Family) -> None:
    found = open_study(study)
    assert (found.name, found.lang, found.tolerance) == ("s", "te", 0.02)
    assert [record.recipe for record in found.trials] == [*RECIPES, BEST]
    assert list(found.family.sources("te")) == list(tiny_llama.sources("te"))
    assert found.records is not None and found.config is not None


def test_a_folder_whose_configuration_cannot_be_used(tmp_path: Path) -> None:
    RecordsWriter.create(tmp_path / "s", StudyHead("s", {"lang": "te", "famly": {}})).close()
    with pytest.raises(ConfigError, match="famly"):
        open_study(tmp_path / "s")


PARAMS = {
    "lang": "te",
    "family.name": "tiny",
    "family.base": "org/base",
    "family.task": "['org/math', 'org/more']",
    "family.language.te": "['org/te']",
    "family.references.joint": "org/joint",
    "search.tolerance": "0.03",
}
PARENT = SentRun("p", "s", {"study": "s", "study_id": "1"}, PARAMS, {})


def sent(record: Record) -> SentRun:
    """A trial as far as MLflow holds it: percentages, and tags that are text."""
    tags = {name: str(getattr(record, name)) for name in ("number", "key", "split", "state")}
    tags |= {"origin": record.origin, "reason": record.reason, "cause": record.cause}
    tags |= {"study": "s", "study_id": "1", "mlflow.parentRunId": "p"}
    if record.stopped and record.stopped.incumbent:
        tags["incumbent"] = record.stopped.incumbent
    tags["recipe"] = json.dumps(to_dict(record.recipe))
    label = record.label + " (held-out)" * (record.split == "held_out")
    return SentRun(record.key, label, tags, {}, few_metrics_of(record))


def test_a_study_from_its_runs_alone() -> None:
    records = [
        FIRST,
        trial(Single("base"), 0.2, number=1, state="infeasible", reason="NaN"),
        trial(OTHER, 0.3, number=2, state="failed", reason="gone", cause="engine", scores={}),
        trial(OTHER, 0.3, number=3, state="stopped", stopped=Stopped(N, N, 0.5, "k", 0.25)),
        FINAL,
        trial(OTHER, 0.3, number=5, state="stopped", stopped=Stopped(N, N, 0.5, "", 0.0)),
    ]
    asked, *others = map(sent, records)
    found = selection._from_runs([asked, *reversed(others), PARENT])
    assert (found.name, found.lang, found.tolerance) == ("s", "te", 0.03)
    assert found.records is found.config is None
    assert found.family == Family(
        name="tiny",
        base="org/base",
        task=("org/math", "org/more"),
        language={"te": ("org/te",)},
        references={"joint": "org/joint"},
    )
    for record, back in zip(records, found.trials, strict=True):
        assert replace(back, scores={}) == replace(record, scores={}, ended=back.ended)
        assert back.scores.keys() == record.scores.keys()
        for name, score in record.scores.items():
            again = back.scores[name]
            assert again.value == (None if score.value is None else pytest.approx(score.value))
            assert again.n_scored == score.n_scored


@pytest.mark.parametrize("value", ["True", "False", None])
def test_whether_pickled_weights_were_allowed(value: str | None) -> None:
    params = PARAMS | ({} if value is None else {"family.allow_bin": value})
    found = selection._from_runs([replace(PARENT, params=params)])
    assert found.family.allow_bin is (value == "True")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lang", None),
        ("family.base", None),
        ("family.language.te", None),
        ("family.task", "org/math"),
        ("family.task", "['org/ma"),  # as a server that cuts long params keeps it
        ("search.tolerance", "much"),
    ],
)
def test_runs_that_say_too_little(name: str, value: str | None) -> None:
    params = {n: v for n, v in PARAMS.items() if n != name} | ({name: value} if value else {})
    with pytest.raises(StudyError, match=r"study s cannot be made again from its runs .*--study"):
        selection._from_runs([sent(FIRST), replace(PARENT, params=params)])


def test_runs_without_the_parent() -> None:
    with pytest.raises(StudyError, match="study s cannot be made again"):
        selection._from_runs([sent(FIRST)])


@pytest.mark.parametrize(("known", "found"), [("id", True), ("another", False)])
def test_a_folder_is_used_while_it_is_the_same_study(
    tmp_path: Path, known: str, found: bool
) -> None:
    RecordsWriter.create(tmp_path / "s", StudyHead("s", {}, id="id")).close()
    items = {"items": str(tmp_path / "s" / "items" / "k.search.jsonl.gz"), "study_id": known}
    run = SentRun("r", "x", items, {}, {})
    assert (selection._folder([PARENT, run]) == tmp_path / "s") is found
    assert selection._folder([PARENT]) is None
    gone = replace(run, tags=items | {"items": str(tmp_path / "gone" / "items" / "k")})
    assert selection._folder([gone]) is None
