"""What an objective's decoding may be, and how one call overrides it.

Owns the ranges of temperature, nucleus, beams and shots. Knows no engine and no prompt.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from objectives.errors import SettingError
from objectives.types import Decoding, Sampling

Number = TypeVar("Number", int, float)


def check_sampling(sampling: Sampling) -> Sampling:
    """Return the sampling if every value is in its range.

    Raises:
        SettingError: one is not; the message has its name, its value and the range.
    """
    for name, value, fine, wanted in (
        ("max_tokens", sampling.max_tokens, sampling.max_tokens >= 1, "at least 1 is needed"),
        ("temperature", sampling.temperature, 0 <= sampling.temperature <= 2, "0 to 2 are allowed"),
        ("top_p", sampling.top_p, 0 < sampling.top_p <= 1, "above 0, up to 1 are allowed"),
        ("beam_width", sampling.beam_width, sampling.beam_width >= 1, "1 is no beam search"),
    ):
        if not fine:
            raise SettingError(f"{name} is {value}: {wanted}")
    return sampling


def override(sampling: Sampling, decoding: Decoding | None) -> Sampling:
    """Return an objective's sampling with what one call asks for in its place.

    Raises:
        SettingError: A value is out of its range.
    """
    if decoding is None:
        return sampling
    return check_sampling(
        replace(
            sampling,
            temperature=_first(decoding.temperature, sampling.temperature),
            top_p=_first(decoding.top_p, sampling.top_p),
            beam_width=_first(decoding.beam_width, sampling.beam_width),
        )
    )


def is_random(sampling: Sampling) -> bool:
    """Tell whether a request needs a seed: neither greedy decoding nor a beam search does."""
    return sampling.temperature > 0 and sampling.beam_width == 1


def _first(asked: Number | None, own: Number) -> Number:
    return own if asked is None else asked
