"""The objectives that a configuration means, built: their data is read, and found to be usable.

Owns what of a configuration all objectives are given. What each of them is, is its own.
"""

from __future__ import annotations

from pathlib import Path

from objectives.errors import ObjectiveError
from objectives.langid import LanguageIdentifier
from objectives.settings import Shared
from objectives.types import Objective
from search.common.errors import ConfigError, SearchError
from search.config.schema import ObjectiveConfig


def build_objectives(config: ObjectiveConfig, lang: str) -> dict[str, Objective]:
    """Name -> objective for one language, in the order of `objectives.targets.OBJECTIVES`.

    Raises:
        ObjectiveError: data files are missing, malformed or too short, or the language is unknown.
        ConfigError: an objective of one's own raises something else.
    """
    lid = LanguageIdentifier(config.lid)
    lid.check()
    shared = Shared(
        lang,
        config.seed,
        lid,
        files(config).get("words"),
        config.coverage_floor,
        config.chat,
        config.confusion_points,
        config.thinking_tokens,
    )
    built = {}
    for name, settings in config.settings().items():
        try:
            built[name] = settings.build(shared)
        except (ObjectiveError, SearchError):
            raise
        except (Exception, SystemExit) as error:  # of an objective of one's own
            raise ConfigError(
                f"objective: {name} cannot be built: {type(error).__name__}: {error}"
            ) from error
    return built


def files(config: ObjectiveConfig) -> dict[str, Path | None]:
    """Files that decide scores beside the objectives' data: name -> file."""
    found = [settings.files() for settings in config.settings().values()]
    return {name: file for files in found for name, file in files.items()}
