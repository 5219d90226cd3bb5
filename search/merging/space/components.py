"""Components as a search space: attention and MLP swap at depths of their own.

Owns their numbers: the zones of each half, transitions and their share, which both have in common.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.merging.recipe import Components, LayerSwap, Recipe
from search.merging.space.grid import Axis
from search.merging.space.swap import Space, layer_shares
from search.merging.space.wider import Columns, Fitting

HALVES = ("attn", "mlp")


def _splits(half: LayerSwap, n_layers: int) -> list[tuple[int, int]]:
    """Bottom and upper layers; where they are all layers, in every way."""
    if half.b + half.u < n_layers:
        return [(half.b, half.u)]
    return [(b, n_layers - b) for b in range(n_layers + 1)]


@dataclass(frozen=True)
class ComponentsForm:
    """The numbers of components.

    Attributes:
        swaps: what bounds b and u of each half, t_b, t_u and the share.
    """

    swaps: Space

    def axes(self) -> tuple[Axis, ...]:
        """B and u of each half, t_b, t_u, w_lang."""
        zones = self.swaps.zones
        bounds = {f"{end}_{half}": zones[end] for half in HALVES for end in ("b", "u")}
        bounds |= {name: zones[name] for name in ("t_b", "t_u")}
        layers = (
            Axis(name, tuple(range(low, high + 1)), 0, "layers")
            for name, (low, high) in bounds.items()
        )
        shares = tuple(self.swaps.axes()["w_lang"])
        return *layers, Axis("w_lang", shares, len(shares) // 2, "amount")

    def recipe(self, values: Mapping[str, Any]) -> Components:
        """The recipe of some parameters, without transition layers that do not fit."""
        zones = {name: values[name] for half in HALVES for name in (f"b_{half}", f"u_{half}")}
        room = self.swaps.n_layers - max(zones[f"b_{h}"] + zones[f"u_{h}"] for h in HALVES)
        t_b = min(values["t_b"], room)
        share = values["w_lang"]
        return Components(
            **self.swaps.shared(values),
            **zones,
            t_b=t_b,
            t_u=min(values["t_u"], room - t_b),
            w_task=1 - share,
            w_lang=share,
        )

    def numbers(self, recipe: Recipe) -> Mapping[str, Any] | None:
        """Those of components, or of a layer swap, whose halves are the same."""
        if isinstance(recipe, LayerSwap):
            zones = {f"b_{half}": recipe.b for half in HALVES}
            zones |= {f"u_{half}": recipe.u for half in HALVES}
            share = recipe.share
        elif isinstance(recipe, Components):
            names = [f"{end}_{half}" for half in HALVES for end in ("b", "u")]
            zones = {name: getattr(recipe, name) for name in names}
            share = recipe.mlp.share
        else:
            return None
        return {**zones, "t_b": recipe.t_b, "t_u": recipe.t_u, "w_lang": share}

    def spellings(self, form: Recipe) -> Iterator[Components]:
        """Other ways to write canonical components; those that are not valid are left out.

        With a share of 1 or 0 the transitions are one expert's own layers, and where the language
        expert has the whole of a half, it may have any of it from below.
        """
        if not isinstance(form, Components):
            return
        bounds = (self.swaps.zones[name] for name in ("t_b", "t_u"))
        transitions = [range(low, high + 1) for low, high in bounds]
        halves = [_splits(half, self.swaps.n_layers) for half in (form.attention, form.mlp)]
        for (t_b, t_u), attn, mlp in itertools.product(itertools.product(*transitions), *halves):
            for share, (below, above) in ((0.0, (0, 0)), (1.0, (t_b, t_u))):
                zones = (attn[0] - below, attn[1] - above, mlp[0] - below, mlp[1] - above)
                if min(zones) < 0:
                    continue
                for policy in dict.fromkeys((form.non_layer, "weighted")):
                    yield Components(
                        form.task,
                        form.lang,
                        *zones,
                        *(t_b, t_u, 1 - share, share),
                        non_layer=policy,
                        decoding=form.decoding,
                    )

    def fitting(self, columns: Columns) -> Fitting:
        """Recipes whose zones fit into the model."""
        transitions = columns["t_b"] + columns["t_u"]
        taken = [columns[f"b_{half}"] + columns[f"u_{half}"] for half in HALVES]
        fits = np.maximum(*taken) + transitions <= self.swaps.n_layers
        return Fitting(fits, transitions > 0)

    def features(self, columns: Columns) -> tuple[NDArray[np.float64], ...]:
        """The language expert's share of every attention and MLP; how many of each it has at ends.

        Two arrays, of shape (n, 2 L) and (n, 4).
        """
        n_layers = self.swaps.n_layers
        t_b, t_u, share = (columns[name][:, None] for name in ("t_b", "t_u", "w_lang"))
        shares, ends = [], []
        for half in HALVES:
            b, u = columns[f"b_{half}"][:, None], columns[f"u_{half}"][:, None]
            shares.append(layer_shares(b, u, t_b, t_u, share, n_layers))
            ends += [b + share * t_b, u + share * t_u]
        both = np.hstack(shares) / np.sqrt(2 * n_layers)
        return both, np.hstack(ends) / (n_layers * np.sqrt(2))

    def starts(self) -> list[Mapping[str, Any]]:
        """The default layer swap."""
        found = self.numbers(self.swaps.default_recipe(self.swaps.pairs[0]))
        assert found is not None
        return [found]

    def bounds(self) -> str:
        """The bounds of all zones, in words."""
        return f"for attention and MLP each b and u on their own, within {self.swaps.bounds()}"
