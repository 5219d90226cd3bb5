"""The `space` group of a configuration: what the search varies, and within which bounds.

What the bounds mean for a model of so many layers is `search.space.swap`'s.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from search.config.fields import (
    Beams,
    Count,
    FewShots,
    Nucleus,
    OneOrMore,
    Range,
    Share,
    Some,
    Strict,
    Temperature,
)
from search.merging.recipe import NonLayer, Ramp
from search.space.pairs import Sides


class ShareRange(Strict):
    """Values of the language expert's share: low, low + step, ... high."""

    low: Share
    high: Share
    step: Annotated[float, Field(gt=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _order(self) -> ShareRange:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class DecodingConfig(Strict):
    """Values to try of LCPR's decoding, beside its own; none, where it is not searched."""

    temperature: tuple[Temperature, ...] = ()
    top_p: tuple[Nucleus, ...] = ()
    beam_width: tuple[Beams, ...] = ()
    shots: tuple[FewShots, ...] = ()


class SpaceConfig(Strict):
    """What the search varies; None follows the number of layers (`search.space.swap`).

    A side of a pair may be several experts, averaged first; without `pairs`, `experts` says whether
    the average of all experts of a kind is searched too, or alone. `non_layer` and `ramp` are one
    value or a list of values to try.
    """

    b: Range | None = None
    u: Range | None = None
    t_b: Range | None = None
    t_u: Range | None = None
    w_lang: ShareRange = ShareRange(low=0.1, high=0.9)
    pairs: Some[tuple[tuple[OneOrMore[Count], OneOrMore[Count]], ...]] | None = None
    experts: Sides = "each"
    non_layer: OneOrMore[NonLayer] = ("average",)
    ramp: OneOrMore[Ramp] = ("constant",)
    decoding: DecodingConfig = DecodingConfig()

    @model_validator(mode="after")
    def _order(self) -> SpaceConfig:
        for name in ("b", "u", "t_b", "t_u"):
            value = getattr(self, name)
            if value is not None and value[0] > value[1]:
                raise ValueError(f"{name}: lowest {value[0]} is above highest {value[1]}")
        if self.pairs is not None and self.experts != "each":
            raise ValueError(
                f"experts={self.experts} makes the pairs itself: leave pairs out, or set "
                "experts=each and name averages there, such as [[[0,1,2],0]]"
            )
        return self
