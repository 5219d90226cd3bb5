"""Every key says what it is; what no single field can refuse is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from objectives import targets
from objectives.mgsm import MgsmSettings
from objectives.settings import Settings, Strict
from search.config import compose, schema, space
from search.config.schema import EngineConfig, ObjectiveShared, RaceConfig, SearchConfig
from search.study.schedule import Schedule

MODELS = {
    value.__name__: value
    for module in (schema, space)
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, Strict) and value not in (Strict, Settings)
} | {settings.__name__: settings for settings in targets.OBJECTIVES.values()}


def test_all_models_are_looked_at() -> None:
    assert set(MODELS) >= {"Config", "FamilyConfig", "SearchConfig", "DecodingConfig"}
    assert len(MODELS) == 16


@pytest.mark.parametrize("name", MODELS)
def test_every_field_has_a_docstring(name: str) -> None:
    model: type[BaseModel] = MODELS[name]
    for field, info in model.model_fields.items():
        assert info.description and info.description.rstrip().endswith("."), (name, field)
        if type(None) in getattr(info.annotation, "__args__", ()):
            assert "None" in info.description, (name, field)


def test_points_are_of_whole_responses() -> None:
    with pytest.raises(ValidationError, match="points are of whole responses"):
        ObjectiveShared(confusion_points=True, thinking_tokens=9)
    assert ObjectiveShared(thinking_tokens=9).thinking_tokens == 9


def test_every_model_says_what_it_is_for() -> None:
    assert all(model.__doc__ for model in MODELS.values())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "name one of the two: the folder of MGSM's files with --mgsm-dir"),
        ({"data_dir": "m", "dataset": "org/m"}, "name one of the two"),
    ],
)
def test_one_source_of_questions(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MgsmSettings.model_validate(given)


def test_an_engine_needs_its_gpus() -> None:
    engine = EngineConfig(tensor_parallel_size=4)
    with pytest.raises(ValidationError, match="gpus_per_engine 2 is less than .*_size 4"):
        SearchConfig(gpus_per_engine=2, engine=engine)
    assert SearchConfig(gpus_per_engine=4, engine=engine).gpus_per_engine == 4
    assert SearchConfig(engine=engine).gpus_per_engine == 0  # sockets


def test_a_batch_invariant_engine_needs_a_gpu() -> None:
    engine = EngineConfig(batch_invariant=True)
    with pytest.raises(ValidationError, match="batch_invariant needs a GPU.*gpus_per_engine is 0"):
        SearchConfig(engine=engine)
    assert SearchConfig(gpus_per_engine=1, engine=engine).engine.batch_invariant


def test_a_reproducible_study_knows_its_number_of_engines() -> None:
    with pytest.raises(ValidationError, match="engines is null.*name the number"):
        SearchConfig(reproducible=True, engines=None)
    assert SearchConfig(reproducible=None, engines=None).engines is None


def test_a_schedule_has_no_defaults_and_no_names_of_its_own() -> None:
    assert set(Schedule.__dataclass_fields__) - {"name"} <= set(SearchConfig.model_fields)
    with pytest.raises(TypeError, match="missing 14 required"):
        Schedule()  # type: ignore[call-arg]


@pytest.mark.parametrize("looks", [(), (0.0,), (1.0,), (0.75, 0.5), (0.5, 0.5)])
def test_looks_rise_and_lie_between_no_item_and_all(looks: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="looks"):
        RaceConfig(looks=looks)


@pytest.mark.parametrize("alpha", [0.0, -0.1, 0.6])
def test_a_chance_that_stops_is_small(alpha: float) -> None:
    with pytest.raises(ValidationError, match="alpha"):
        RaceConfig(alpha=alpha)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": ["mgsm", "mgsm"]}, "task names mgsm twice"),
        ({"task": ["a:B", "c:D"]}, "two classes of one's own"),
        ({"task": ["mgsm", "lcpr"]}, "'lcpr' is none of mgsm, lm_eval"),
        ({"task": "mgsm", "combine": "worst"}, "combine is set, but there is one task"),
        ({"task": ["mgsm", "lm_eval"], "combine": {"mgsm": 0, "lm_eval": 1}}, "greater than 0"),
        ({"task": ["mgsm", "lm_eval"], "combine": "best"}, "'mean' or 'worst'"),
        ({"task": []}, "at least 1 item"),
        ({"task": ["mgsm", "lm_eval"], "own": {"a": 1}}, "own has settings, but task is mgsm"),
    ],
)
def test_what_several_tasks_may_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ObjectiveShared(**given)


def test_several_tasks_are_one_target_and_a_constraint_may_be_of_each() -> None:
    asked = ["objective.task=[mgsm,lm_eval]", "objective.combine={mgsm: 2, lm_eval: 1}"]
    asked += ["objective.lm_eval={tasks: [x]}", "objective.constraints={accuracy: 0.3}"]
    objective = compose.load(asked, {"lang": "te"}).objective
    assert list(objective.settings()) == ["mgsm", "lm_eval", "lcpr"]
    main, lcpr, accuracy = objective.targets()
    assert (main.score, main.weights, [t.score for t in main.of]) == (
        "combined", (2.0, 1.0), ["accuracy", "lm_eval"],
    )  # fmt: skip
    assert (lcpr.score, accuracy.score, accuracy.least) == ("lcpr", "accuracy", 0.3)
    alone = compose.load(["objective.task=[mgsm]"], {"lang": "te"}).objective
    assert alone.targets() == targets.DEFAULT
