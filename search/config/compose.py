"""conf/*.yaml, files of one's own and the command line -> one validated, frozen configuration.

Owns groups and overrides. Groups are composed with OmegaConf, then
pydantic checks the whole against `search.config.schema` and all faults are reported together.
Values are what is written: nothing is put in for `${...}`, as files come from others, too, and
could have the environment sent somewhere. Knows no key, default or range by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from yaml import YAMLError, safe_load

import search
from objectives.bounds import LARGEST, check_yaml, read_whole
from objectives.words import did_you_mean
from search.common.errors import ConfigError
from search.config import explain
from search.config.schema import Config
from search.config.trust import refuse_code_in_file

CONF = Path(search.__file__).resolve().parents[1] / "conf"
GROUPS = ("family", "objective", "space", "search")
"""Each a folder of conf/, and a field of `search.config.schema.Config`."""

_PATH_KEYS = {"base", "task", "language", "references", "data_dir", "examples", "words", "lid"}


def load(overrides: Sequence[str] = (), flags: Mapping[str, Any] | None = None) -> Config:
    """Compose the groups, apply overrides, validate.

    Args:
        overrides: `group=name`, `group=file.yaml` or `key.of.a.value=VALUE`, one after the other. A
            mapping takes the place of the one before it: `search.baselines={}` is none.
        flags: dotted key -> value from command line flags; None values are left out.

    Raises:
        ConfigError: with every fault found, each with its path, its value and what is allowed.
    """
    choices = _read(CONF / "config.yaml")
    values: list[str] = []
    _refuse_interpolation([*overrides, *(flags or {}).values()], "the command line")
    for override in overrides:
        key, sign, value = override.partition("=")
        if not sign or not key:
            raise ConfigError(f"{override!r} is not an override: write key=value")
        if key in GROUPS:
            choices[key] = value
        else:
            values.append(override)
    merged = OmegaConf.create({group: _group(group, str(choices[group])) for group in GROUPS})
    try:
        for override in values:
            _apply(merged, override)
        for key, flag in (flags or {}).items():
            if flag is not None:
                OmegaConf.update(merged, key, flag)
        data = OmegaConf.to_container(merged)
    except (OmegaConfBaseException, YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"an override cannot be applied: {error}") from None
    return parse(data)


def _apply(merged: DictConfig, override: str) -> None:
    """Set one key; by itself OmegaConf would add a mapping to the one that is there."""
    key, _, value = override.partition("=")
    if isinstance(safe_load(value), dict):
        OmegaConf.update(merged, key, {}, merge=False)
    merged.merge_with_dotlist([override])


def parse(data: Any) -> Config:
    """A plain mapping, such as a study.yaml, as a configuration.

    Raises:
        ConfigError: with every fault found.
    """
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain.faults(error)) from None


def _group(group: str, choice: str) -> dict[str, Any]:
    own = choice.endswith((".yaml", ".yml"))
    file = Path(choice).expanduser() if own else CONF / group / f"{choice}.yaml"
    if not file.is_file():
        shipped = sorted(p.stem for p in (CONF / group).glob("*.yaml"))
        here = sorted(p.name for p in Path().glob("*.y*ml"))
        raise ConfigError(
            f"{group}={choice}: no such file{did_you_mean(choice, [*shipped, *here])}; shipped are "
            f"{', '.join(shipped)}, or name a .yaml file"
        )
    data = _read(file)
    if own and group == "objective":
        refuse_code_in_file(data, str(file))
    return _resolve_paths(data, file.resolve().parent)


def _read(file: Path) -> dict[str, Any]:
    try:
        check_yaml(read_whole(file, LARGEST))
        loaded = OmegaConf.load(file)
        data = OmegaConf.to_container(loaded) if isinstance(loaded, DictConfig) else None
    except (OSError, ValueError, RecursionError, YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{file} must hold a mapping of keys to values")
    _refuse_interpolation(data, str(file))
    return {str(key): value for key, value in data.items()}


def _refuse_interpolation(values: Any, where: str) -> None:
    """Refuse `${...}`: it would be taken for a part of a name, or worse, be filled in."""
    if isinstance(values, dict | list):
        inner = [*values, *values.values()] if isinstance(values, dict) else values
        for value in inner:
            _refuse_interpolation(value, where)
    elif isinstance(values, str) and "${" in values:
        raise ConfigError(
            f"{where}: {values!r} holds ${{...}}, which nothing is put in for: write the value "
            "itself"
        )


def _resolve_paths(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make relative paths that exist beside the YAML absolute; others are taken from here."""

    def resolve(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: resolve(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [resolve(inner) for inner in value]
        beside = folder / value if isinstance(value, str) and value else None
        return _place(beside.resolve()) if beside is not None and beside.exists() else value

    def walk(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: resolve(v) if key in _PATH_KEYS else walk(v) for key, v in value.items()}

    return {key: resolve(v) if key in _PATH_KEYS else walk(v) for key, v in data.items()}


def _place(path: Path) -> str:
    """An absolute path; of what a Ray job brought along, the path from the job's folder.

    Ray unpacks that folder under a name that changes with its content: the next job of the same
    study finds its files at another absolute path.
    """
    job = Path.cwd().resolve()
    brought = job.parent.name == "working_dir_files" and path.is_relative_to(job)
    return str(path.relative_to(job) if brought else path)
