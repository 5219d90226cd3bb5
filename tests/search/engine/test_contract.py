"""What an engine's options set in its process, and that they are the configuration's."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest

from search.config.schema import EngineConfig
from search.engine.contract import EngineOptions
from tests.engine_options import engine_options


def test_the_configuration_has_every_option_and_the_only_defaults() -> None:
    names = {field.name for field in fields(EngineOptions)}
    assert names == set(EngineConfig.model_fields) | {"seed", "chat_template_kwargs"}
    more = {"seed": 3, "chat_template_kwargs": {"think": False}}
    assert asdict(engine_options(**more)) == EngineConfig().model_dump() | more
    with pytest.raises(TypeError, match="missing 14 required"):
        EngineOptions()  # type: ignore[call-arg]


@pytest.mark.parametrize(("size", "expected"), [(1, True), (2, False)])
def test_one_engine_lives_in_the_actors_process(size: int, expected: bool) -> None:
    variables = engine_options(tensor_parallel_size=size).environment()
    assert ("VLLM_ENABLE_V1_MULTIPROCESSING" in variables) is expected


def test_the_key_value_cache_on_a_cpu_is_as_large_as_asked() -> None:
    assert engine_options(cpu_kv_cache_gib=3).environment()["VLLM_CPU_KVCACHE_SPACE"] == "3"


def test_a_batch_invariant_engine_is_vllms_own() -> None:
    assert engine_options(batch_invariant=True).environment()["VLLM_BATCH_INVARIANT"] == "1"
    assert "VLLM_BATCH_INVARIANT" not in engine_options().environment()
