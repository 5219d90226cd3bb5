"""A study as its records alone judge it: what is recommended, and the rows of the final table.

Owns that nothing but records is needed for it: the head holds the configuration and the number of
layers. The rules are `choose`'s and `recommendation`'s. Opens no model and needs no family's files;
a search may be running on the study.
"""

from __future__ import annotations

from dataclasses import dataclass

from search.checkpoints.family import Family
from search.common.errors import StudyError
from search.config import compose
from search.config.schema import Config
from search.config.searched import space_of
from search.merging.recipe import LayerSwap, key
from search.merging.space.contract import MainSpace
from search.records.reader import RecordsReader
from search.results import comparison
from search.results.choose import Choice, FinalRow, final_rows, gains
from search.results.comparison import Report
from search.results.recommendation import recommend


@dataclass(frozen=True)
class StudyResult:
    """What a study comes to, as far as it is.

    Attributes:
        config: the study's configuration.
        n_layers: the model's number of layers L.
        choice: the best swap, with what speaks against recommending it; None if none was scored.
        default: the paper's default recipe, of the pair that it suits best on the search items.
        rows: recipes of the final table, scored or not.
    """

    config: Config
    n_layers: int
    choice: Choice | None
    default: LayerSwap
    rows: tuple[FinalRow, ...]

    @classmethod
    def of(cls, records: RecordsReader) -> StudyResult:
        """Judge a study by its records so far.

        Raises:
            StudyError: its models were never opened, so it has no trials.
            ConfigError: its configuration cannot be used.
        """
        head = records.head()
        if not head.layers:
            raise StudyError(f"{records.path} has not begun: its models were never opened")
        config = compose.parse(head.config)
        choice = recommend(records, head.layers, config.search.tolerance)
        default = best_default(space_of(config, head.layers), records)
        sources = Family(**config.family.model_dump()).sources(config.lang)
        rows = final_rows(records.trials, choice, default, sources, head.layers)
        return cls(config, head.layers, choice, default, tuple(rows))

    def compare(self, records: RecordsReader) -> Report:
        """The final table of the study."""
        names = {"family": self.config.family.name, "lang": self.config.lang}
        return comparison.build(records, self.rows, self.choice, n_layers=self.n_layers, **names)


def best_default(space: MainSpace, records: RecordsReader) -> LayerSwap:
    """The paper's default recipe of the tried pair that it suits best on the search items."""
    ended = records.ended("search")

    def gain(recipe: LayerSwap) -> float:
        record = ended.get(key(recipe, space.n_layers))
        return gains(record)[0] if record else float("-inf")

    return max(map(space.default_recipe, space.pairs), key=gain)
