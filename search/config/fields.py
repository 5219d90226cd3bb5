"""What the values of a configuration may be: the building blocks of `search.config.compose`."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from search.merging.methods.registry import rivals

Value = TypeVar("Value")

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Temperature = Annotated[float, Field(ge=0, le=2)]  # vLLM refuses more
Nucleus = Annotated[float, Field(gt=0, le=1)]
Beams = Annotated[int, Field(ge=1, le=64)]
FewShots = Annotated[int, Field(ge=0, le=5)]
Range = tuple[Count, Count]


def _without_password(given: str) -> str:
    if re.search(r"://([^/\s]*|[^/\s:@]*:(?!\d+/)[^\s]*)@", given):  # a password may hold a /
        raise ValueError(
            "leave name and password out of the address, which is written into records and logs; "
            "the store's package takes them from the environment"
        )
    return given


def _rival(given: str) -> str:
    if given not in rivals():
        allowed = ", ".join(map(repr, rivals()))
        raise ValueError(f"no merge method that is searched as a rival; allowed are {allowed}")
    return given


RivalMethod = Annotated[str, AfterValidator(_rival)]

Location = Annotated[
    str, Field(min_length=1, pattern=r"^[^\x00]*$"), AfterValidator(_without_password)
]


class Strict(BaseModel):
    """Unknown keys are errors; values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _listed(given: Any) -> Any:
    return given if isinstance(given, list | tuple) else [given]


def _some(given: Value) -> Value:
    if not given:
        raise ValueError("is empty: give one at least")
    return given


Some = Annotated[Value, AfterValidator(_some)]
OneOrMore = Annotated[tuple[Value, ...], BeforeValidator(_listed), AfterValidator(_some)]
