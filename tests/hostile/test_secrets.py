"""No way to write a secret survives in what is written or shown: one table for every writer."""

from __future__ import annotations

import copy
import functools
import itertools
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from search.common.ending import ENDING
from search.common.errors import ConfigError, StudyError
from search.config import compose
from search.export.mergekit_yaml import mergekit_yaml
from search.export.model_card import model_card
from search.records.bucket import Bucket
from search.records.head import StudyHead
from search.records.study_path import Url
from search.study.tracking.outbox import remember
from search.study.tracking.runs import params
from search.study.tracking.store import Store, cause_of
from search.study.tuning.engines import start_ray
from search.study.tuning.judging import scorer_failed
from search.study.tuning.trainable import Job
from tests.engine_options import engine_options
from tests.fake_engine import FakeEngine
from tests.schedules import schedule
from tests.search.export.test_mergekit_yaml import BOTH, MODELS
from tests.search.export.test_model_card import PARTS, merge
from tests.search.merging.test_plan import names
from tests.secret_shapes import PW, SHAPES

Writer = Callable[[str, Path], str]

KEYS = ("search.storage", "search.address", "family.base", "family.references.other")


@functools.cache
def _chosen() -> dict[str, Any]:
    return compose.load([], {"lang": "te"}).model_dump(mode="json")


def study_yaml(text: str, folder: Path) -> str:
    """Whatever key takes the text: it is refused there, or kept without its secret."""
    kept = []
    for key in KEYS:
        chosen = copy.deepcopy(_chosen())
        at: Any = chosen
        *above, last = key.split(".")
        for name in above:
            at = at[name]
        at[last] = text
        try:
            head = StudyHead("s", compose.parse(chosen).model_dump(mode="json"))
            kept.append(head.to_yaml().decode())
        except ConfigError as error:
            kept.append(str(error))
    return "\n".join(kept)


def log(text: str, folder: Path) -> str:
    """What is said of a store that fails, and of an objective."""
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("search").addHandler(handler)
    store, tries = Bucket(Url("memory://b/s"), 3600), itertools.count()

    def fail() -> None:
        if next(tries):
            ENDING.set()  # it is tried again once
        raise RuntimeError(f"no answer from {text}")

    try:
        with pytest.raises(OSError, match="no answer") as error:
            store._try("it cannot be read", fail)
        reason = scorer_failed(RuntimeError(f"of {text}")).reason
    finally:
        ENDING.clear()
        logging.getLogger("search").removeHandler(handler)
    assert len(records) >= 2
    return "\n".join([*records, str(error.value), reason])


def error(text: str, folder: Path) -> str:
    return str(StudyError(f"{text}: refused"))


def mlflow(text: str, folder: Path) -> str:
    """Params, tags, a cause, and the address that is kept beside the study."""
    sent: list[Any] = []
    store = object.__new__(Store)
    store.client = SimpleNamespace(log_batch=lambda *given: sent.append(given))
    store._entities = SimpleNamespace(
        Metric=lambda *given: given, Param=lambda *given: given, RunTag=lambda *given: given
    )
    store.write("run", params=params({"family": {"base": text}}), tags={"reason": text})
    remember(folder, text)
    kept = (folder / "mlflow.json").read_text()
    return "\n".join([str(sent), cause_of(RuntimeError(text), text), kept])


def card(text: str, folder: Path) -> str:
    part = replace(PARTS[1], model=text, revision=text, licence=text)
    return model_card(merge(parts=[PARTS[0], part], reason=text, study="s"))


def mergekit(text: str, folder: Path) -> str:
    return mergekit_yaml(BOTH, {**MODELS, "base": text, "task/0": text}, names(4), 4, "BF16")


@pytest.mark.parametrize("writer", [study_yaml, log, error, mlflow, card, mergekit])
def test_no_secret_is_written(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.records.bucket.FIRST_PAUSE", 1e-4)
    leaks = []
    for number, text in enumerate(SHAPES):
        folder = tmp_path / str(number)
        folder.mkdir()
        if PW in writer(text, folder):
            leaks.append(text)
    assert leaks == []


def test_the_table_is_long() -> None:
    assert len(set(SHAPES)) >= 40 and all(PW in text for text in SHAPES)


def test_ray_is_told_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sees its dashboard sees `runtime_env`: what goes in is named, nothing is copied."""
    told: dict[str, Any] = {}
    monkeypatch.setattr(ray, "init", lambda **given: told.update(given))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "OPTUNA_STORAGE_PASSWORD", "RAY_AUTH_TOKEN"):
        os.environ[name] = PW
    os.environ["VLLM_LOGGING_LEVEL"] = "INFO"
    job = Job({}, engine_options(), (), engine=FakeEngine)
    start_ray(schedule(storage=f"postgresql://me:{PW}@h/d"), job)
    own = {"RAY_CHDIR_TO_TRIAL_DIR", "VLLM_LOGGING_LEVEL", *job.options.environment()}
    assert set(told["runtime_env"]) == {"env_vars"} and set(told["runtime_env"]["env_vars"]) == own
    assert PW not in repr(told)
