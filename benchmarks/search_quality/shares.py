"""Do other shares than even ones in the transition layers find better recipes?

    python -m benchmarks.search_quality.shares [--seeds 50]

Replays searches of the product's sampler on all recorded zones at an even share, on these and what
was recorded of the shares .1, .3, .7 and .9, and the same of the zones alone of which those were
drawn. In Swahili these are of `python -m benchmarks.landscape record --design shares`. Each seed
draws search and held-out items for all spaces alike.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.landscape import design, packed
from benchmarks.search_quality.replay import EXPERTS, Field
from benchmarks.search_quality.runs import command
from benchmarks.search_quality.wider import Trajectory, compared, listed, searched
from search.merging.recipe import LayerSwap, Recipe
from search.merging.space.contract import MainSpace
from search.merging.space.swap import uses_weights

AT = (10, 20, 40, 60, 100)
EVEN, FIVE = "even share", "five shares"
DRAWN = "of the drawn zones, "
"""Those whose other shares were recorded."""
SPACES = (EVEN, FIVE, DRAWN + EVEN, DRAWN + FIVE)
SHARES = (0.1, 0.9, 0.1)
"""Lowest, highest and distance of those that five are recorded of."""


@dataclass(frozen=True)
class Task:
    """One search: language code, one of `SPACES`, the seed."""

    lang: str
    space: str
    seed: int


@functools.cache
def whole(lang: str) -> packed.Landscape:
    """Everything that was recorded of a language's swaps."""
    found = packed.shipped(lang)
    if lang == design.SHARES_IN_WHOLE:
        return found
    return packed.joined(found, packed.shipped(lang, "shares"))


@functools.cache
def field(lang: str, name: str) -> Field:
    """What was recorded, as a search of one of `SPACES` sees it."""
    return Field(whole(lang), make=functools.partial(_space, lang, name))


def _space(lang: str, name: str) -> MainSpace:
    space = _unlimited(lang, name)
    vars(space)["grid"] = _grid(lang, name)
    return space


def _unlimited(lang: str, name: str) -> MainSpace:
    shares = (0.5, 0.5, 0.1) if name.endswith(EVEN) else SHARES
    return design.even_space(lang, *EXPERTS[lang], shares=shares)


@functools.cache
def _grid(lang: str, name: str) -> object:
    return listed(_unlimited(lang, name), recorded(lang, name))


def recorded(lang: str, name: str) -> Iterator[Recipe]:
    """The recorded recipes of a space, default recipes among them."""
    swaps = [r for r in Field(whole(lang)).recipes if isinstance(r, LayerSwap)]
    other = {_zone(swap) for swap in swaps if _uneven(swap)}
    space = _unlimited(lang, name)
    first = {_zone(space.default_recipe(pair)) for pair in space.pairs}
    return (
        swap
        for swap in swaps
        if not (_uneven(swap) and name.endswith(EVEN))
        and (name in (EVEN, FIVE) or _zone(swap) in other | first)
    )


def _uneven(swap: LayerSwap) -> bool:
    return uses_weights(swap) and swap.w_lang != 0.5


def _zone(swap: LayerSwap) -> tuple[object, ...]:
    return swap.task, swap.lang, swap.b, swap.u, swap.t_b, swap.t_u


def run(task: Task, trials: int = AT[-1]) -> Trajectory:
    """Replay one search."""
    return searched(field(task.lang, task.space), task.seed, trials)


def table(found: Mapping[Task, Trajectory]) -> Iterator[str]:
    """A Markdown table for each language and for the drawn zones of each."""
    for lang, names in itertools.product(EXPERTS, (SPACES[:2], SPACES[2:])):
        yield ""
        yield f"{lang}:"
        yield ""
        yield from compared(
            {
                name: (
                    len(field(lang, name).in_space),
                    [t for task, t in found.items() if (task.lang, task.space) == (lang, name)],
                )
                for name in names
            },
            AT,
        )


def tasks(seeds: Iterable[int]) -> list[Task]:
    """The searches of some seeds."""
    return [Task(*one) for one in itertools.product(EXPERTS, SPACES, seeds)]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command(__doc__, tasks, run, table, argv)


if __name__ == "__main__":
    sys.exit(main())
