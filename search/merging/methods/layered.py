"""What layer swapping and its wider forms have in common: a pair of experts, and who owns layers.

Owns what such a recipe is asked as one to be recommended: its experts' names, how many layers each
has, and the numbers that a search varies. Knows none of the forms.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Literal

from search.merging.methods.common import Experts, members

NonLayer = Literal["average", "task", "lang", "weighted", "base"]
"""Where tensors without a layer number come from: the plain average of the two experts (the paper's
choice), one of them, their average with the recipe's weights (a soup), or the base model."""


class Layered:
    """A merge of a pair of experts, or of two groups averaged first, layer by layer.

    Attributes:
        task: index of the task expert in the family's list, or of several.
        lang: index of the language expert in the family's list for the language, or of several.
        non_layer: source of the tensors without a layer number.
    """

    task: Experts
    lang: Experts
    non_layer: NonLayer

    @abstractmethod
    def whole(self, n_layers: int) -> tuple[int, int]:
        """How many bottom and upper layers are wholly the language expert's."""

    @abstractmethod
    def size(self, n_layers: int) -> tuple[float, float]:
        """How many layers are the language expert's, and how many are averages of both."""

    @abstractmethod
    def numbers(self) -> Mapping[str, float]:
        """What a search varies beside the experts, by name; also where it has no effect."""

    @property
    def task_sources(self) -> tuple[str, ...]:
        """Names of the task experts among the family's sources."""
        return tuple(f"task/{i}" for i in members(self.task))

    @property
    def lang_sources(self) -> tuple[str, ...]:
        """Names of the language experts among the family's sources."""
        return tuple(f"lang/{i}" for i in members(self.lang))

    @property
    def lang_source(self) -> str:
        """Name of the language expert; of several such as `lang/0+1`, which is no source."""
        return "lang/" + "+".join(map(str, members(self.lang)))

    @property
    def pair(self) -> str:
        """The experts as people write them: `m0-l1`, or `m0+1-l2` where several are averaged."""
        task, lang = ("+".join(map(str, members(side))) for side in (self.task, self.lang))
        return f"m{task}-l{lang}"
