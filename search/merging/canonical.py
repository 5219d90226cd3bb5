"""Canonical form: the recipe without everything that cannot change the merged model.

Owns which recipes mean the same weights, across the kinds: a soup of one expert is that expert,
TIES that trims nothing of a single expert is task arithmetic, and so on. Knows nothing of tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from objectives.types import Decoding
from search.merging.kinds import (
    SHARE_DIGITS,
    DareLinear,
    Experts,
    LayerSwap,
    NonLayer,
    Recipe,
    Single,
    Slerp,
    Soup,
    TaskArithmetic,
    Ties,
    members,
    validate,
)

_SMALLEST: float = 10**-SHARE_DIGITS


def canonical(recipe: Recipe, n_layers: int) -> Recipe:
    """The recipe with everything removed that cannot change the merged weights or the decoding.

    Two valid recipes give the same plan and decoding if and only if their canonical forms are
    equal. Whole-model averages of one task and one language expert are layer swaps whose transition
    zone is the whole model; experts that nothing is taken from are number 0; weights are relative
    to the largest, experts sorted.

    Raises:
        RecipeError: if the recipe is not valid for `n_layers`.
    """
    validate(recipe, n_layers)
    decoding = _plainest(recipe.decoding)
    if isinstance(recipe, Single):
        return Single(recipe.source, decoding)
    if isinstance(recipe, LayerSwap):
        return _swap(recipe, n_layers, decoding)
    if isinstance(recipe, Slerp):
        return _slerp(recipe, n_layers, decoding)
    if isinstance(recipe, Soup):
        return _soup(recipe.experts, recipe.weights, n_layers, decoding)
    if isinstance(recipe, Ties):
        return _ties(recipe, n_layers, decoding)
    return _task_vectors(recipe, n_layers, decoding)


def _plainest(decoding: Decoding | None) -> Decoding | None:
    """Decoding without what has no effect; None where nothing is left."""
    if decoding is not None and (decoding.beam_width or 1) > 1:
        decoding = replace(decoding, temperature=None, top_p=None)
    elif decoding is not None and decoding.temperature == 0:
        decoding = replace(decoding, top_p=None)
    return None if decoding == Decoding() else decoding


def _swap(recipe: LayerSwap, n_layers: int, decoding: Decoding | None) -> Recipe:
    share, non_layer, ramp = recipe.share, recipe.non_layer, recipe.ramp
    b, u, t_b, t_u = recipe.b, recipe.u, recipe.t_b, recipe.t_u
    if non_layer == "weighted":  # an average with share 0, 1/2 or 1 has a plainer name
        plain: dict[float, NonLayer] = {0.0: "task", 0.5: "average", 1.0: "lang"}
        non_layer = plain.get(share, "weighted")
    if ramp == "linear" and t_b + t_u == 0:
        ramp = "constant"
    elif ramp == "linear" and non_layer != "weighted":  # the weights have no effect
        share, ramp = 0.5, "constant" if max(t_b, t_u) == 1 else "linear"
    if ramp == "constant" and share == 0.0:  # transition layers are the task expert's
        t_b = t_u = 0
    elif ramp == "constant" and share == 1.0:  # transition layers are the language expert's
        b, u, t_b, t_u = b + t_b, u + t_u, 0, 0
    if b + u + t_b + t_u == n_layers and (ramp == "constant" or t_b + t_u == 1):
        t_b, t_u = t_b + t_u, 0  # no task zone: where the zones meet cannot be seen
        if t_b == 0:
            b, u = n_layers, 0
    task, lang = _sorted(recipe.task), _sorted(recipe.lang)
    if b == n_layers and non_layer in ("lang", "base"):
        task = 0
    if b + u + t_b + t_u == 0 and non_layer in ("task", "base"):
        lang = 0
    if t_b + t_u == 0 and non_layer != "weighted":
        share = 0.5
    w_task = round(1 - share, SHARE_DIGITS)
    form = LayerSwap(task, lang, b, u, t_b, t_u, w_task, share, non_layer, decoding, ramp)
    return _without_zones(form, n_layers) or form


def _without_zones(form: LayerSwap, n_layers: int) -> Recipe | None:
    """What a canonical swap is if all its tensors are made alike; None if they are not."""
    task, lang = form.task_sources, form.lang_sources
    if form.b == n_layers and form.non_layer == "lang":
        return _soup(lang, (1.0,) * len(lang), n_layers, form.decoding)
    if form.b + form.u + form.t_b + form.t_u == 0 and form.non_layer == "task":
        return _soup(task, (1.0,) * len(task), n_layers, form.decoding)
    alike = form.non_layer == "weighted" or (form.non_layer, form.share) == ("average", 0.5)
    if alike and form.t_b == n_layers and form.ramp == "constant" and len(task) + len(lang) > 2:
        weights = [(1 - form.share) / len(task)] * len(task) + [form.share / len(lang)] * len(lang)
        return _soup(task + lang, weights, n_layers, form.decoding)
    return None


def _sorted(experts: Experts) -> Experts:
    found = tuple(sorted(members(experts)))
    return found[0] if len(found) == 1 else found


def _used(experts: Sequence[str], numbers: Sequence[float]) -> list[tuple[str, float]]:
    """Experts with their rounded numbers, sorted, without those whose number is 0."""
    pairs = ((name, _rounded(number)) for name, number in zip(experts, numbers, strict=True))
    return sorted((p for p in pairs if p[1]), key=lambda p: (p[0][:4] == "lang", int(p[0][5:])))


def _relative(weights: Sequence[float]) -> list[float]:
    return [weight / max(weights) for weight in weights]


def _soup(
    experts: Sequence[str], weights: Sequence[float], n_layers: int, decoding: Decoding | None
) -> Recipe:
    used = _used(experts, _relative(weights))
    names = tuple(name for name, _ in used)
    if len(used) == 1:
        return Single(names[0], decoding)
    if len(used) == 2 and names[0][:4] != names[1][:4]:
        task, lang = (int(name[5:]) for name in names)
        pair = soup(task, lang, n_layers, used[1][1] / (used[0][1] + used[1][1]))
        return _swap(pair, n_layers, decoding)
    return Soup(names, tuple(weight for _, weight in used), decoding)


def soup(task: Experts, lang: Experts, n_layers: int, share: float = 0.5) -> LayerSwap:
    """The weighted average of a pair: a recipe whose transition zone is the whole model."""
    return LayerSwap(
        task, lang, 0, 0, n_layers, 0, w_task=1 - share, w_lang=share, non_layer="weighted"
    )


def _task_vectors(
    recipe: TaskArithmetic | DareLinear, n_layers: int, decoding: Decoding | None
) -> Recipe:
    used = _used(recipe.experts, recipe.scales)
    names, scales = tuple(name for name, _ in used), tuple(scale for _, scale in used)
    density = _density(recipe.density) if isinstance(recipe, DareLinear) else 1.0
    if not used:
        return Single("base", decoding)
    if isinstance(recipe, DareLinear) and density < 1.0:
        return DareLinear(names, density, scales, recipe.seed, decoding)
    # The base's own share is 1 - sum of the scales; each was rounded by up to half a unit.
    if abs(sum(scales) - 1) < _SMALLEST * (len(scales) + 0.5) / 2 and min(scales) > 0:
        return _soup(names, scales, n_layers, decoding)
    return TaskArithmetic(names, scales, decoding)


def _ties(recipe: Ties, n_layers: int, decoding: Decoding | None) -> Recipe:
    used = _used(recipe.experts, _relative(recipe.weights))
    names, weights = tuple(name for name, _ in used), tuple(weight for _, weight in used)
    density, scale = _density(recipe.density), _rounded(recipe.scale)
    if scale == 0.0 or (len(names) == 1 and density == 1.0):
        return _task_vectors(TaskArithmetic(names[:1], (scale,)), n_layers, decoding)
    return Ties(names, density, weights, scale, decoding)


def _density(density: float) -> float:
    return max(_rounded(density), _SMALLEST)


def _rounded(number: float) -> float:
    return round(float(number), SHARE_DIGITS)  # a whole number's JSON would have another key


def _slerp(recipe: Slerp, n_layers: int, decoding: Decoding | None) -> Recipe:
    layers = recipe.layers(n_layers)
    mean = sum(layers) / n_layers
    outside = _rounded(mean if recipe.non_layer is None else recipe.non_layer)
    if {*layers, outside} <= {0.0, 1.0}:  # whole layers of one expert or the other
        b = layers.index(0.0) if 0.0 in layers else n_layers
        u = layers[::-1].index(0.0) if b < n_layers else 0
        if 1.0 not in layers[b : n_layers - u]:
            policy: NonLayer = "lang" if outside else "task"
            swap = LayerSwap(recipe.task, recipe.lang, b, u, 0, 0, non_layer=policy)
            return _swap(swap, n_layers, decoding)
    t = layers[:1] if len(set(layers)) == 1 else layers
    return Slerp(recipe.task, recipe.lang, t, outside, decoding)
