"""The search space that a configuration means for a model of so many layers.

Pure for who reads a study's records, which may be a stranger's: no module that they name is run.
"""

from __future__ import annotations

from objectives.types import Decoding
from objectives.words import counted
from search.common.errors import ConfigError
from search.config.schema import Config
from search.merging.space.components import ComponentsForm
from search.merging.space.contract import MainSpace
from search.merging.space.layerwise import LayerwiseForm, blocks_of
from search.merging.space.swap import make_space
from search.merging.space.wider import WiderSpace


def space_of(config: Config, n_layers: int, *, run: bool = False) -> MainSpace:
    """What a study searches.

    Args:
        config: the study's.
        n_layers: the model's number of layers L.
        run: it is to be run: an objective of one's own says how it decodes, which only matters
            where a search varies that.

    Raises:
        ConfigError: bounds or blocks exceed L, `start` has not a share for each block, or a pair
            names an expert twice or one that the family lacks.
    """
    wanted, shares = config.space, config.space.w_lang
    own = [each.decoding() for each in config.objective.settings(shipped=not run).values()]
    swaps = make_space(
        lang=config.lang,
        n_layers=n_layers,
        n_task=len(config.family.task),
        n_lang=len(config.family.language[config.lang]),
        b=wanted.b,
        u=wanted.u,
        t_b=wanted.t_b,
        t_u=wanted.t_u,
        shares=(shares.low, shares.high, shares.step),
        pairs=wanted.pairs,
        experts=wanted.experts,
        non_layer=wanted.non_layer,
        ramp=wanted.ramp,
        decoding={name: values for name, values in wanted.decoding if values},
        own_decoding=next((one for one in own if one is not None), Decoding()),
    )
    if wanted.form == "components":
        return WiderSpace(ComponentsForm(swaps))
    if wanted.form == "layerwise":
        blocks = wanted.blocks or blocks_of(n_layers)
        if blocks > n_layers:
            raise ConfigError(f"space.blocks = {blocks}, but the model has {n_layers} layers")
        if len(wanted.start) not in (0, blocks):
            raise ConfigError(
                f"space.start has {counted(len(wanted.start), 'share')} for "
                f"{counted(blocks, 'block')}"
            )
        return WiderSpace(LayerwiseForm(swaps, blocks, wanted.start))
    return swaps
