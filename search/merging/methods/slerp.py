"""SLERP: from one expert to another along the sphere, tensor by tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from objectives.types import Decoding
from objectives.words import counted
from search.merging.blocks import ChunkMerge, Tensor, weighted_sum
from search.merging.methods.common import SHARE_DIGITS, members, rounded, short
from search.merging.methods.faults import count_faults
from search.merging.methods.layered import NonLayer
from search.merging.methods.layerwise import Layerwise
from search.merging.methods.linear import terms_in_words
from search.merging.methods.method import Arithmetic, Mergekit, Method, Recipe, Rival
from search.merging.mix import Mix, Term, linear

DOT_THRESHOLD = 0.9995
"""Cosine beyond which two tensors are taken as parallel: mergekit's `dot_threshold`."""

_EDGES = tuple(round(0.25 * i, 2) for i in range(5))


@dataclass(frozen=True)
class Slerp:
    """Spherical interpolation, tensor by tensor (Shoemake 1985; mergekit's `slerp`).

    Attributes:
        task: index of the task expert: t = 0.
        lang: index of the language expert: t = 1.
        t: values in [0, 1] at even distances from the first layer to the last, straight lines
            between them (mergekit's gradient); one value holds for all layers.
        non_layer: t of the tensors without a layer number; None: the mean of the layers' t.
    """

    task: int
    lang: int
    t: tuple[float, ...]
    non_layer: float | None = None
    decoding: Decoding | None = None

    def layers(self, n_layers: int) -> tuple[float, ...]:
        """The t of every layer, rounded."""
        found = []
        for layer in range(n_layers):
            place = layer * (len(self.t) - 1) / max(n_layers - 1, 1)
            low = min(int(place), len(self.t) - 1)
            high, part = min(low + 1, len(self.t) - 1), place - low
            found.append(round((1 - part) * self.t[low] + part * self.t[high], SHARE_DIGITS))
        return tuple(found)


def _faults(recipe: Slerp, n_layers: int) -> list[str]:
    faults = count_faults([("task", recipe.task), ("lang", recipe.lang)])
    if not 1 <= len(recipe.t) <= n_layers:
        faults.append(f"t has {counted(len(recipe.t), 'value')}, but must have 1 to {n_layers}")
    outside = () if recipe.non_layer is None else (recipe.non_layer,)
    for name, values in (("t", recipe.t), ("non_layer", outside)):
        faults += [f"{name} = {t} is not in [0, 1]" for t in values if not 0 <= t <= 1]
    return faults


def _canonical(recipe: Slerp, n_layers: int) -> Recipe:
    layers = recipe.layers(n_layers)
    mean = sum(layers) / n_layers
    outside = rounded(mean if recipe.non_layer is None else recipe.non_layer)
    if {*layers, outside} <= {0.0, 1.0}:  # whole layers of one expert or the other
        policy: NonLayer = "lang" if outside else "task"
        return Layerwise(recipe.task, recipe.lang, layers, policy, recipe.decoding)
    t = layers[:1] if len(set(layers)) == 1 else layers
    return Slerp(recipe.task, recipe.lang, t, outside, recipe.decoding)


def _mix(form: Slerp, layer: int | None, n_layers: int) -> Mix:
    if layer is None:
        t = form.non_layer or 0.0
    else:
        t = form.t[layer] if len(form.t) > 1 else form.t[0]
    parts = (f"task/{form.task}", 1.0 - t), (f"lang/{form.lang}", t)
    if t in (0.0, 1.0):
        return linear(parts)
    return Mix("slerp", tuple(Term(*part) for part in parts), base="")


def _label(form: Slerp, recipe: Recipe, n_layers: int) -> list[str]:
    anchors = recipe.t if isinstance(recipe, Slerp) else form.t
    along = "-".join(map(short, anchors))
    outside = [f"embeddings{short(form.non_layer)}"] if form.non_layer != form.t[0] else []
    return ["SLERP", f"t{along}", f"m{form.task}-l{form.lang}", *outside]


def _merge(mix: Mix, name: str, surveyed: Sequence[Tensor]) -> ChunkMerge:
    squares, dots, others = surveyed[0].tolist()
    ends = _coefficients(squares, dots, others, mix.terms[1].coefficient)
    return lambda parts, start: weighted_sum(parts, ends)


def _products(parts: list[Tensor]) -> Tensor:
    """One . one, one . other, other . other; shape (3,), in float64.

    mergekit takes them in float32, so its coefficients differ in the 7th digit.
    """
    import torch

    one, other = (part.double() for part in parts)
    return torch.stack([one.dot(one), one.dot(other), other.dot(other)])


def _coefficients(squares: float, dots: float, others: float, t: float) -> tuple[float, float]:
    """sin((1-t) a) / sin a and sin(t a) / sin a, a the angle between the tensors (Shoemake 1985).

    1 - t and t where the tensors are nearly parallel or opposite.

    Args:
        squares: squared length of the one.
        dots: product of the two.
        others: squared length of the other.
        t: from 0, the one, to 1, the other.
    """
    cosine = dots / (math.sqrt(squares * others) or 1.0)
    if abs(cosine) > DOT_THRESHOLD:
        return 1 - t, t
    angle = math.acos(cosine)
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


METHOD = Method(
    recipe=Slerp,
    sources=lambda recipe: (f"task/{recipe.task}", f"lang/{recipe.lang}"),
    faults=_faults,
    canonical=_canonical,
    mix=_mix,
    label=_label,
    arithmetic=Arithmetic(
        merge=_merge,
        surveys=lambda mix: (lambda sums: _products,),
        words=lambda mix: f"slerp of {terms_in_words(mix)}",
        mergekit=Mergekit(parameters=lambda mix: {}, between=True),
    ),
    rival=Rival(  # t runs in straight lines from the first layer over the middle one to the last
        axes={"t_bottom": _EDGES, "t_middle": _EDGES, "t_top": _EDGES},
        recipe=lambda task, lang, n_layers, values: Slerp(
            members(task)[0],
            members(lang)[0],
            (values["t_bottom"], values["t_middle"], values["t_top"])[: 3 if n_layers > 2 else 1],
        ),
        role="best SLERP",
        groups=False,
    ),
)
