"""The search space that a configuration means for a model of so many layers.

Pure: the same for the driver, which has opened the models, and for who reads a study's records.
"""

from __future__ import annotations

from objectives.types import Decoding
from search.config.schema import Config
from search.merging.space.swap import Space, make_space


def space_of(config: Config, n_layers: int) -> Space:
    """What a study searches.

    Args:
        config: the study's.
        n_layers: the model's number of layers L.

    Raises:
        ConfigError: bounds exceed L, or a pair names an expert twice or one that the family lacks.
    """
    wanted, shares = config.space, config.space.w_lang
    own = [settings.decoding() for settings in config.objective.settings().values()]
    return make_space(
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
