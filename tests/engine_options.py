"""Options of an engine for tests and benchmarks: the configuration's but for what is named."""

from __future__ import annotations

from typing import Any

from search.config.schema import EngineConfig
from search.engine.contract import EngineOptions


def engine_options(seed: int = 0, chat_template_kwargs: Any = None, **named: Any) -> EngineOptions:
    """What is named is checked as a user's would be."""
    own = EngineConfig(**named).model_dump()
    return EngineOptions(**own, seed=seed, chat_template_kwargs=chat_template_kwargs or {})
