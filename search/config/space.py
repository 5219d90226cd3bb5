"""The `space` group of a configuration: what the search varies, and within which bounds.

What the bounds mean for a model of so many layers is `search.config.searched`'s.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from objectives.settings import (
    Beams,
    Count,
    FewShots,
    Nucleus,
    Positive,
    Share,
    Strict,
    Temperature,
)
from search.config.fields import OneOrMore, Range, Some
from search.merging.recipe import NonLayer, Ramp
from search.merging.space.pairs import Sides


class ShareRange(Strict):
    """Values of the language expert's share: low, low + step, ... high."""

    low: Share
    """Lowest share to try."""

    high: Share
    """Highest share to try."""

    step: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Distance of two shares that are tried."""

    @model_validator(mode="after")
    def _order(self) -> ShareRange:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class DecodingConfig(Strict):
    """Values to try of LCPR's decoding, beside its own; none, where it is not searched."""

    temperature: tuple[Temperature, ...] = ()
    """Temperatures to try; 0 is greedy."""

    top_p: tuple[Nucleus, ...] = ()
    """Nuclei to try, as shares of the probability."""

    beam_width: tuple[Beams, ...] = ()
    """Widths of a beam search to try; 1 is none."""

    shots: tuple[FewShots, ...] = ()
    """Numbers of worked examples to try; `objective.lcpr.examples` holds them."""


class SpaceConfig(Strict):
    """What the search varies; L is the model's number of layers."""

    form: Literal["swap", "components", "layerwise"] = "swap"
    """What a recipe varies: the zones of a layer swap; zones of their own for attention and MLP
    (components); the language expert's share in each block of layers (layerwise)."""

    b: Range | None = None
    """Lowest and highest number of bottom layers of the language expert, with `components` of each
    half. None: 0 to L // 2."""

    u: Range | None = None
    """Lowest and highest number of upper layers of the language expert. None: 0 to L - L // 2."""

    t_b: Range | None = None
    """Lowest and highest number of transition layers above the bottom ones. None: 0 to
    max(1, L // 4). Those that do not fit are dropped."""

    t_u: Range | None = None
    """Lowest and highest number of transition layers below the upper ones. None: as for `t_b`."""

    w_lang: ShareRange = ShareRange(low=0.5, high=0.5)
    """The language expert's share in the average of a transition layer, with `layerwise` of a
    block. One value: it is not searched."""

    blocks: Positive | None = None
    """With `layerwise`: blocks of layers, as even as they can be. None: 8 to 12, at most L."""

    start: tuple[Share, ...] = ()
    """With `layerwise`: shares of the blocks, bottom first, that are proposed after the default
    recipe; `python -m search.inspect` writes some."""

    pairs: Some[tuple[tuple[OneOrMore[Count], OneOrMore[Count]], ...]] | None = None
    """Pairs of a task and a language expert, each side an index or several that are averaged first:
    `[[0,1],[[0,1,2],0]]`. None: all that `experts` makes."""

    experts: Sides = "each"
    """What stands on a side without `pairs`: each expert alone, the average of all experts of a
    kind (averaged), or both."""

    non_layer: OneOrMore[NonLayer] = ("average",)
    """Where tensors without a layer number (embeddings, final norm, head) come from; one value or a
    list of values to try. Weighted: by the transition layers' weights."""

    ramp: OneOrMore[Ramp] = ("constant",)
    """The weights over a zone's transition layers: all the same, or from the language expert to the
    task expert in even steps (linear); one value or a list of values to try."""

    decoding: DecodingConfig = DecodingConfig()
    """Values to try of LCPR's decoding."""

    @model_validator(mode="after")
    def _order(self) -> SpaceConfig:
        for name in ("b", "u", "t_b", "t_u"):
            value = getattr(self, name)
            if value is not None and value[0] > value[1]:
                raise ValueError(f"{name}: lowest {value[0]} is above highest {value[1]}")
        if self.form != "swap" and set(self.ramp) != {"constant"}:
            raise ValueError(f"ramp={list(self.ramp)}: form={self.form} has none but constant")
        if self.form != "layerwise" and (self.blocks or self.start):
            raise ValueError(f"blocks and start are for form=layerwise, not form={self.form}")
        if self.form == "layerwise":
            zones = [name for name in ("b", "u", "t_b", "t_u") if getattr(self, name) is not None]
            if zones:
                raise ValueError(f"{', '.join(zones)}: form=layerwise has no zones, leave them out")
            if "weighted" in self.non_layer:
                raise ValueError("non_layer=weighted: form=layerwise has no weights but blocks'")
            if self.w_lang.low + self.w_lang.step > self.w_lang.high + 1e-9:
                raise ValueError(
                    f"w_lang from {self.w_lang.low:g} to {self.w_lang.high:g} in steps of "
                    f"{self.w_lang.step:g} is one share: form=layerwise searches those of the "
                    "blocks, set such as w_lang={low: 0.0, high: 1.0, step: 0.25}, as "
                    "space=layerwise does"
                )
        if self.pairs is not None and self.experts != "each":
            raise ValueError(
                f"experts={self.experts} makes the pairs itself: leave pairs out, or set "
                "experts=each and name averages there, such as [[[0,1,2],0]]"
            )
        return self
