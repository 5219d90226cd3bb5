"""Whom a configuration would speak to: addresses in it that credentials or data could be sent to.

Owns which of its values are such. A configuration that comes with a study may be a stranger's: its
addresses are used only where this command line names them as well, or says that they are trusted.
Object stores are none: which host a bucket is at, this machine's environment says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from objectives.own import is_own
from search.common.errors import ConfigError
from search.config.schema import Config
from search.config.secrets import without_password

FLAG = "--trust-addresses"
CODE = (
    ("lm_eval", "allow_code", False),
    ("lm_eval", "fetch", False),
    ("code", "allow_code", False),
    ("code", "isolated", True),
)
"""Keys of `objective` that let code run here: section, key, the value that does not."""
ASKS_ITS_HOST = ("hdfs://",)
"""Beginnings of models' addresses that name the host itself."""


def refuse_foreign(config: Config, where: str, named: Collection[str] = ()) -> None:
    """Refuse addresses that nobody but a study has named.

    Args:
        config: the study's.
        where: the study, for the message.
        named: keys that the command line has given, such as `search.storage`.

    Raises:
        ConfigError: there are some, shown without passwords, with what to do.
    """
    refuse_code(config, where)
    if config.search.storage and "search.storage" not in named:
        shown = without_password(config.search.storage)
        raise ConfigError(
            f"{where} keeps Optuna's study in {shown}, which this command line does not name: "
            f"passwords go to no address that a study alone knows. If it is yours, write "
            f"search.storage={shown} or {FLAG}"
        )
    family = config.family
    experts = (location for group in family.language.values() for location in group)
    refuse_foreign_models((family.base, *family.task, *experts, *family.references.values()), where)


def refuse_code(config: Config, where: str) -> None:
    """Refuse code that nobody but a study has named.

    Raises:
        ConfigError: its objectives would run some.
    """
    if code := _code(config):
        raise ConfigError(f"{where} {code}")


def runs_code(config: Config) -> bool:
    """Whether code that a configuration names would run here."""
    return bool(_code(config))


def _code(config: Config) -> str:
    """What code would run here, and what to do about it; empty where there is none."""
    own = [task for task in config.objective.tasks if is_own(task)]
    harness, code = config.objective.lm_eval, config.objective.code
    if own:
        return f"is scored by {own[0]}, code that would run here. If you know it, write {FLAG}"
    if harness is not None and (harness.allow_code or (harness.fetch and harness.include_path)):
        return (
            f"has objective.lm_eval.allow_code or .fetch: the tasks in {harness.include_path} "
            f"would run code here, or fetch what they name. If you know them, write {FLAG}"
        )
    if code is not None and code.allow_code:
        return (
            "has objective.code.allow_code: programs that its models write would run here. If you "
            f"know it, write {FLAG}"
        )
    return ""


def refuse_code_in_file(values: Mapping[str, Any], where: str) -> None:
    """Refuse code that a file of objectives would have run: such files come from others, too.

    Args:
        values: the file's, not validated yet.
        where: the file, for the message.

    Raises:
        ConfigError: it names some; what one runs is named on the command line.
    """
    tasks = values.get("task")
    named = [str(task) for task in (tasks if isinstance(tasks, list) else [tasks])]
    found = [f"task={name}" for name in named if is_own(name)]
    for section, key, harmless in CODE:
        inner = values.get(section)
        if isinstance(inner, Mapping) and inner.get(key, harmless) != harmless:
            found.append(f"{section}.{key}={str(inner[key]).lower()}")
    if found:
        raise ConfigError(
            f"{where} would have code run here ({', '.join(found)}): leave it out there, and name "
            f"it yourself on the command line, as objective.{found[0]}"
        )


def refuse_foreign_models(locations: Iterable[object], where: str) -> None:
    """Refuse models at hosts that nobody but a study has named.

    Raises:
        ConfigError: there are some.
    """
    hosts = [text for text in map(str, locations) if text.lower().startswith(ASKS_ITS_HOST)]
    if hosts:
        raise ConfigError(
            f"{where} takes models from {', '.join(hosts)}: this machine would speak to a host "
            f"that a study alone knows. If you know it, write {FLAG}"
        )
