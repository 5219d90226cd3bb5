"""Addresses that a study alone knows are not used unasked."""

from __future__ import annotations

import json

import pytest

from search.common.errors import ConfigError
from search.config import compose
from search.config.schema import Config
from search.config.trust import FLAG, refuse_foreign, refuse_foreign_models

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
