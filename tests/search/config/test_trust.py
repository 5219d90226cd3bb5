"""Addresses that a study alone knows are not used unasked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from search.common.errors import ConfigError
from search.config import compose
from search.config.schema import Config
from search.config.trust import FLAG, refuse_foreign, refuse_foreign_models, runs_code

DATABASE = "postgresql://me:hunter2@theirs/db"


def chosen(*overrides: str) -> Config:
    return compose.load(overrides, {"lang": "te"})


def test_a_database_is_named_by_the_command_line_too() -> None:
    config = chosen(f"search.storage={DATABASE}")
    refuse_foreign(config, "s", {"search.storage"})
    with pytest.raises(ConfigError, match=rf"^s keeps .* postgresql://me:\*\*\*@theirs/db.*{FLAG}"):
        refuse_foreign(config, "s", {"search.engines"})


@pytest.mark.parametrize(
    "key", ["family.base", "family.task.0", "family.language.te.1", "family.references.other"]
)
def test_models_at_a_host(key: str) -> None:
    with pytest.raises(ConfigError, match=r"takes models from HDFS://theirs:9000/x: .*" + FLAG):
        refuse_foreign(chosen(f"{key}=HDFS://theirs:9000/x"), "s")


@pytest.mark.parametrize("key", ["allow_code", "fetch"])
def test_tasks_that_run_code_or_fetch_data(key: str) -> None:
    given = {"tasks": ["x"], "include_path": "theirs", key: True}
    config = chosen("objective.task=lm_eval", f"objective.lm_eval={json.dumps(given)}")
    with pytest.raises(ConfigError, match=rf"^s has .*{key}.* the tasks in theirs"):
        refuse_foreign(config, "s")


def test_what_the_environment_finds_is_nobodys_address() -> None:
    refuse_foreign(chosen(), "s")
    refuse_foreign_models(["s3://bucket/x", "org/name", "/models/hdfs", "gs://b/x"], "s")


@pytest.mark.parametrize("task", ["mine:Quiz", "[mgsm, mine:Quiz]"])
def test_a_class_of_a_study_is_code(task: str) -> None:
    with pytest.raises(
        ConfigError, match=r"s is scored by mine:Quiz, code that would run .*" + FLAG
    ):
        refuse_foreign(chosen(f"objective.task={task}"), "s")


def test_programs_of_a_studys_models_are_code() -> None:
    asked = ("objective.code={data_dir: x, allow_code: true}",)
    with pytest.raises(ConfigError, match=r"s has objective.code.allow_code: .*" + FLAG):
        refuse_foreign(chosen(*asked), "s")
    refuse_foreign(chosen("objective.code={data_dir: x}"), "s")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("task: evil:QuizSettings", "task=evil:QuizSettings"),
        ("task: [mgsm, 'evil:QuizSettings']", "task=evil:QuizSettings"),
        ("lm_eval: {tasks: [x], allow_code: true}", "lm_eval.allow_code=true"),
        ("lm_eval: {tasks: [x], fetch: true}", "lm_eval.fetch=true"),
        ("code: {data_dir: x, allow_code: true}", "code.allow_code=true"),
        ("code: {data_dir: x, allow_code: 1}", "code.allow_code=1"),
        ("code: {data_dir: x, isolated: false}", "code.isolated=false"),
    ],
)
def test_a_file_of_objectives_has_no_code_run(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "obj.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=f"would have code run here .*{re.escape(named)}"):
        compose.load([f"objective={file}"], {"lang": "te"})


def test_what_one_names_oneself_is_run(tmp_path: Path) -> None:
    file = tmp_path / "obj.yaml"
    file.write_text("code: {data_dir: x, allow_code: false}\nlm_eval: {tasks: [x]}\n")
    chosen = compose.load([f"objective={file}", "objective.code.allow_code=true"], {"lang": "te"})
    assert chosen.objective.code is not None and chosen.objective.code.allow_code


def test_whether_code_would_run() -> None:
    assert not runs_code(chosen())
    assert runs_code(chosen("objective.task=quiz:QuizSettings", "objective.own={}"))
    assert runs_code(chosen("objective.code={data_dir: x, allow_code: true}"))
