"""English retention: the same math problems in English, beside those in the target language.

Owns nothing but the names: problems, prompts and extraction are MGSM's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from objectives.mgsm import MgsmObjective, MgsmSettings
from objectives.settings import Shared
from objectives.target import Target
from objectives.types import Completion, Decoding, Evaluation, Objective, Request, Split

SCORES = ("accuracy", "in_language")
"""Those of MGSM that are recorded, each with `english_` before it."""


class EnglishSettings(MgsmSettings):
    """Math problems in English, in MGSM's files: what the experts could do before a merge.

    Keys are those of `mgsm`; the score is `english_accuracy`.
    """

    target = Target("english_accuracy", "english", "English accuracy", item="correct")

    def build(self, shared: Shared) -> Objective:  # type: ignore[override]
        """The objective, with its data read."""
        return English(super().build(replace(shared, lang="en")))


class English:
    """MGSM in English under names of its own."""

    name = "english"

    def __init__(self, mgsm: MgsmObjective) -> None:
        """Take MGSM in English."""
        self._mgsm = mgsm
        self.split_hash = mgsm.split_hash

    def requests(self, split: Split, decoding: Decoding | None = None) -> Sequence[Request]:
        """MGSM's."""
        return self._mgsm.requests(split, decoding)

    def score(
        self,
        split: Split,
        completions: Sequence[Completion],
        decoding: Decoding | None = None,
        *,
        first: int | None = None,
    ) -> Evaluation:
        """MGSM's; a merge that forgot its English is not infeasible for it.

        Raises:
            ValueError: as MGSM's.
        """
        found = self._mgsm.score(split, completions, decoding, first=first)
        scores = {f"english_{n}": found.scores[n] for n in SCORES if n in found.scores}
        items = tuple(replace(item, objective=self.name) for item in found.items)
        return Evaluation(scores, items, None)
