"""DARE: task arithmetic of randomly thinned task vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from objectives.types import Decoding
from search.merging.blocks import ChunkMerge, Tensor, deltas, weighted_sum
from search.merging.methods.common import (
    DENSITIES,
    SCALES,
    pair_sources,
    parts,
    rounded_density,
    shared_scales,
    short,
    used,
)
from search.merging.methods.faults import count_faults, density_faults, scaled_faults
from search.merging.methods.linear import terms_in_words
from search.merging.methods.method import Arithmetic, Mergekit, Method, Recipe, Rival
from search.merging.methods.single import Single
from search.merging.methods.task_arithmetic import TaskArithmetic
from search.merging.mix import Mix, Term


@dataclass(frozen=True)
class DareLinear:
    """Task arithmetic of randomly thinned task vectors (Yu et al. 2023, arXiv 2311.03099, eq. 2-3).

    Attributes:
        experts: as in a soup.
        density: chance of an entry to be kept; what is kept is divided by it (the paper's 1 - p).
        scales: as in task arithmetic.
        seed: of the random numbers; each tensor of each expert has its own series.
    """

    experts: tuple[str, ...]
    density: float
    scales: tuple[float, ...]
    seed: int = 0
    decoding: Decoding | None = None


def _faults(recipe: DareLinear, n_layers: int) -> list[str]:
    return [
        *scaled_faults(recipe.experts, recipe.scales),
        *density_faults(recipe.density),
        *count_faults([("seed", recipe.seed)]),
    ]


def _canonical(recipe: DareLinear, n_layers: int) -> Recipe:
    names, scales = used(recipe.experts, recipe.scales)
    density = rounded_density(recipe.density)
    if not names:
        return Single("base", recipe.decoding)
    if density == 1.0:
        return TaskArithmetic(names, scales, recipe.decoding)
    return DareLinear(names, density, scales, recipe.seed, recipe.decoding)


def _mix(form: DareLinear, layer: int | None, n_layers: int) -> Mix:
    terms = tuple(map(Term, form.experts, form.scales))
    return Mix("dare_linear", terms, form.density, seed=form.seed)


def _label(form: DareLinear, recipe: Recipe, n_layers: int) -> list[str]:
    numbers = parts(form.experts, form.scales)
    return ["DARE", f"density{short(form.density)}", *numbers, f"seed{form.seed}"]


def _merge(mix: Mix, name: str, surveyed: Sequence[Tensor]) -> ChunkMerge:
    """Yu et al. 2023, eq. 2-3: each entry is kept with chance `density` and divided by it.

    mergekit's `dare_linear` instead scales what is kept to the sum of magnitudes before; the two
    agree on average.
    """
    scales = [term.coefficient / mix.density for term in mix.terms]
    series = [Bernoulli(mix.density, f"{mix.seed} {term.source} {name}") for term in mix.terms]

    def step(parts: list[Tensor], start: int) -> Tensor:
        task_vectors = zip(deltas(parts), series, strict=True)
        kept = [delta.mul_(keep(delta, start)) for delta, keep in task_vectors]
        return parts[0] + weighted_sum(kept, scales)

    return step


class Bernoulli:
    """A series of random yes and no that is the same on every device and in every version.

    splitmix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure
    16), started from a hash of the series' name.
    """

    def __init__(self, chance: float, name: str) -> None:
        digest = hashlib.sha256(name.encode()).digest()
        self._start = int.from_bytes(digest[:8], "big", signed=True)
        self._bound = min(round(chance * 2**64), 2**64 - 1) - 2**63

    def __call__(self, like: Tensor, start: int) -> Tensor:
        """As many numbers as there are in `like`, on its device, from the series' `start` on."""
        import torch

        end = start + like.numel()
        bits = torch.arange(start + 1, end + 1, dtype=torch.int64, device=like.device)
        bits = bits.mul_(_signed(0x9E3779B97F4A7C15)).add_(self._start)  # modulo 2^64
        bits = bits.bitwise_xor_(_shift(bits, 30)).mul_(_signed(0xBF58476D1CE4E5B9))
        bits = bits.bitwise_xor_(_shift(bits, 27)).mul_(_signed(0x94D049BB133111EB))
        return torch.lt(bits.bitwise_xor_(_shift(bits, 31)), self._bound)


def _signed(value: int) -> int:
    """The 64 bits of a whole number as torch's int64 holds them."""
    return value - 2**64 if value >= 2**63 else value


def _shift(bits: Tensor, by: int) -> Tensor:
    """Shift to the right, filling with zeros (torch's own fills with the sign)."""
    return (bits >> by).bitwise_and_((1 << 64 - by) - 1)


METHOD = Method(
    recipe=DareLinear,
    sources=lambda recipe: recipe.experts,
    faults=_faults,
    canonical=_canonical,
    mix=_mix,
    label=_label,
    arithmetic=Arithmetic(
        merge=_merge,
        words=lambda mix: (
            f"base and dare_linear (density {mix.density:g}, seed {mix.seed}) of "
            f"{terms_in_words(mix)}"
        ),
        mergekit=Mergekit(
            parameters=lambda mix: {"normalize": False},
            settings=lambda mix: {"density": mix.density},
            note=(
                "# mergekit draws its own random numbers, and scales what it keeps to the sum of "
                "magnitudes\n# before instead of dividing by the density: the same method, not the "
                "same weights.\n"
            ),
        ),
    ),
    rival=Rival(
        axes={"density": DENSITIES, "scale_task": SCALES, "scale_lang": SCALES},
        recipe=lambda task, lang, n_layers, values: DareLinear(
            pair_sources(task, lang), values["density"], shared_scales(task, lang, values)
        ),
        role="best DARE",
    ),
)
