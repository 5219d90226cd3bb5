"""An objective of one's own: a class in another package that a configuration names.

Owns how it is found and what it must be. What it does is its own; `docs/objectives.md` has one to
start from.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from objectives.errors import SettingError
from objectives.settings import Settings
from objectives.target import Target
from objectives.words import fault_in_words

FORM = "package.module:Class"


def is_own(name: str) -> bool:
    """Whether a configuration means a class of its own."""
    return ":" in name


def settings_class(name: str) -> type[Settings]:
    """The class that `package.module:Class` names, from here or from what is installed.

    Raises:
        SettingError: it cannot be imported, or is no `objectives.settings.Settings` with a target.
    """
    module, _, inner = name.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), inner]):
        raise SettingError(f"objective.task is {name!r}: write it as {FORM}")
    here = os.getcwd()
    if here not in sys.path:  # a console script has not; a worker's is the job's working folder
        sys.path.insert(0, here)
    try:
        found = getattr(import_module(module), inner)
    except Exception as error:  # whatever somebody's module raises
        raise SettingError(
            f"objective.task {name} cannot be imported: {type(error).__name__}: {error}. The "
            "module must be in the folder that the search is started from (ray job submit takes "
            "it along with --working-dir), or be installed on every node"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Settings)):
        raise SettingError(f"objective.task {name} is no class of objectives.settings.Settings")
    if not isinstance(getattr(found, "target", None), Target):
        raise SettingError(
            f"objective.task {name} has no `target`, an objectives.target.Target that says which "
            "of its scores is optimised"
        )
    return found


def own_settings(name: str, values: dict[str, Any]) -> Settings:
    """The settings of such a class, `objective.own`.

    Raises:
        SettingError: as `settings_class`, or the values are not what it takes.
    """
    kind = settings_class(name)
    try:
        return kind(**values)
    except ValidationError as error:
        faults = "; ".join(
            f"objective.own.{'.'.join(map(str, fault['loc']))}: {fault_in_words(fault)}"
            for fault in error.errors()
        )
        raise SettingError(f"{name} does not take these settings: {faults}") from None
