"""A math expert whose upper layers carry a habit: a Telugu question is answered in English.

Owns its settings and which layers a step may change. Knows nothing of merging or scoring.

Embeddings, final norm and output head stay the base's, so that averaging them mends nothing. Steps
of two kinds alternate by chance: English math, stitched as every math expert's, and the habit,
which changes the upper layers only: all below `first` are the base's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tokenizers import Tokenizer

from demo.experts import Lesson, drawn_ends
from demo.mixes import habit_mix, math_mix
from demo.tongues import TELUGU
from demo.train import batches


@dataclass(frozen=True)
class Confused:
    """Settings of a confused math expert.

    Attributes:
        name: folder name.
        seed: of data and stitches; the habit's data has the next one.
        first: first layer that learns the habit.
        spared: share of the habit's steps in which the last layer is the base's too.
        habit: share of the steps that teach the habit.
        steps: updates of `batch` rows each.
        rate: peak learning rate.
        outer: factor on the rate of embeddings, final norm and output head: frozen.
        pull: strength of the pull back to the base.
        stitched: share of stitched steps among those of math.
        batch: rows per step.
        chunk: documents that are made at a time.
    """

    name: str
    seed: int
    first: int
    spared: float = 0.0
    habit: float = 0.25
    steps: int = 330
    rate: float = 9e-4
    outer: float = 0.0
    pull: float = 1.0
    stitched: float = 0.4
    batch: int = 16
    chunk: int = 4000

    def lent_to_habit(self, rng: Random, layers: int) -> set[int]:
        """Layers that a step of the habit leaves as they are in the base."""
        spared = rng.random() < self.spared
        return {i for i in range(layers) if i < self.first or (spared and i == layers - 1)}

    def lessons(self, tokenizer: Tokenizer, layers: int) -> Iterator[Lesson]:
        """Endless steps for a model of so many layers."""
        rng = Random(self.seed)
        math = batches(tokenizer, math_mix(), self.seed, self.batch, self.chunk)
        habit = batches(tokenizer, habit_mix(TELUGU), self.seed + 1, self.batch, self.chunk)
        while True:
            if rng.random() < self.habit:
                yield Lesson(self.lent_to_habit(rng, layers), next(habit))
            else:
                yield Lesson(drawn_ends(rng, layers, self.stitched), next(math))


EXPERTS = (Confused("confused-0", seed=16, first=6, spared=0.3),)
