"""Schedules for tests: the configuration's defaults but for what is named."""

from __future__ import annotations

from typing import Any

from search.config.schema import SearchConfig
from search.study.schedule import Schedule


def schedule(**named: Any) -> Schedule:
    """What is named is checked as a user's would be."""
    return Schedule.of("s", SearchConfig(**named))
