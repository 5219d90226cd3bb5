"""What the values of a configuration may be: the building blocks of `search.config.schema`."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from objectives import targets
from objectives.own import FORM, is_own
from objectives.settings import Count, Positive
from objectives.words import did_you_mean
from search.common.masking import masked
from search.merging.methods.registry import rivals

Value = TypeVar("Value")

Range = tuple[Count, Count]

CORES = 8
"""Engines that `cores` stands for at most: beyond, memory and its bandwidth are what they share."""


def _cores(given: Any) -> Any:
    """One engine for each core that this process may use."""
    return min(CORES, len(os.sched_getaffinity(0))) if given == "cores" else given


def _task(name: str) -> str:
    tasks = [task for task in targets.OBJECTIVES if task != "lcpr"]
    if name not in tasks and not is_own(name):
        near = did_you_mean(name, tasks)
        raise ValueError(f"{name!r} is none of {', '.join(tasks)}, {FORM}{near}")
    return name


Task = Annotated[str, AfterValidator(_task)]
Budget = Annotated[float, Field(ge=0)] | Literal["auto"]
Engines = Annotated[Positive, BeforeValidator(_cores)]
"""A number of engines, or `cores`: one for each core of this machine, at most `CORES`."""


def _without_password(given: str) -> str:
    if masked(given) != given or "@" in urlsplit(given).netloc:
        raise ValueError(
            "leave name and password out of the address, which is written into records and logs; "
            "the store's package takes them from the environment"
        )
    return given


Address = Annotated[
    str, Field(json_schema_extra={"format": "cluster's address"}), AfterValidator(_without_password)
]


def _rival(given: str) -> str:
    if given not in rivals():
        allowed = ", ".join(map(repr, rivals())) + did_you_mean(given, rivals())
        raise ValueError(f"no merge method that is searched as a rival; allowed are {allowed}")
    return given


def _name_rivals(schema: dict[str, Any]) -> None:
    schema["enum"] = list(rivals())


RivalMethod = Annotated[str, Field(json_schema_extra=_name_rivals), AfterValidator(_rival)]

Location = Annotated[
    str,
    Field(
        min_length=1,
        pattern=r"^[^\x00]*$",
        json_schema_extra={"format": "folder, hub id or address"},
    ),
    AfterValidator(_without_password),
]


def _listed(given: Any) -> Any:
    return given if isinstance(given, list | tuple) else [given]


def _some(given: Value) -> Value:
    if not given:
        raise ValueError("is empty: give one at least")
    return given


_NOT_EMPTY = Field(json_schema_extra={"minItems": 1})
Some = Annotated[Value, AfterValidator(_some), _NOT_EMPTY]
OneOrMore = Annotated[
    tuple[Value, ...], BeforeValidator(_listed), AfterValidator(_some), _NOT_EMPTY
]
