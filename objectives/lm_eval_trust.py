"""What task YAMLs of others may do in lm-evaluation-harness 0.4.13: run no code, fetch no data.

Owns what is looked for in them, and what the harness is kept from. They are looked at as YAML reads
them, as a tag and an address can be written in many ways.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from objectives.bounds import LARGEST, check_yaml, read_whole
from objectives.errors import DataError, SettingError
from objectives.words import did_you_mean


@contextmanager
def without_code() -> Iterator[None]:
    """The harness, running no code but its own: no functions of YAMLs, no metrics of `evaluate`."""
    modules: list[Any] = [
        importlib.import_module(f"lm_eval.{name}")
        for name in ("tasks", "tasks._yaml_loader", "api.task")
    ]
    package, yamls, task = modules
    known = importlib.import_module("lm_eval.api.registry").metric_registry
    own = Path(package.__file__ or "").resolve().parent
    held: tuple[Any, Any] = yamls._import_func_in_yml, task.get_metric

    def function(name: str, folder: Path) -> Any:
        if folder.resolve().is_relative_to(own):
            return held[0](name, folder)
        raise SettingError(f"{folder} runs Python code ({name}). {_ALLOW}")

    def metric(name: str, elsewhere: bool = False) -> Any:
        if not elsewhere and name in known:
            return held[1](name)
        raise SettingError(
            f"metric {name} is none of the harness{did_you_mean(name, known)}; as code elsewhere, "
            f"it is not run. {_ALLOW}"
        )

    yamls._import_func_in_yml, task.get_metric = function, metric
    try:
        yield
    finally:
        yamls._import_func_in_yml, task.get_metric = held


@contextmanager
def without_hub() -> Iterator[None]:
    """The libraries that fetch data sets, asking nobody: what is in their caches can be read."""
    places: list[Any] = [
        importlib.import_module("datasets.config"),
        importlib.import_module("huggingface_hub.constants"),
    ]
    held = [place.HF_HUB_OFFLINE for place in places]
    for place in places:
        place.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for place, before in zip(places, held, strict=True):
            place.HF_HUB_OFFLINE = before


_ALLOW = "Read it, then set objective.lm_eval.allow_code=true"


class _Code(str):
    """What stands for a function in a YAML that is only looked at."""


class _Looked(yaml.SafeLoader):
    """YAML as the harness reads it, but for functions."""


_Looked.add_constructor("!function", lambda loader, node: _Code(node.value))


def check_folder(folder: Path, code: bool, fetch: bool) -> None:
    """Look through a folder of YAMLs before the harness runs what they hold.

    Raises:
        DataError: there is no such folder, no YAML in it, or one that cannot be read.
        SettingError: one of them names code or a data set elsewhere, and may not.
    """
    files = sorted(file for end in ("yaml", "yml") for file in folder.rglob(f"*.{end}"))
    if not files:
        raise DataError(f"include_path {folder} has no task: put task YAMLs there")
    seen: set[Path] = set()
    for file in files:
        _check_file(file.resolve(), code, fetch, seen)


def _check_file(file: Path, code: bool, fetch: bool, seen: set[Path]) -> None:
    """Look through a YAML and those that it includes, whatever they are called."""
    if file in seen:
        return
    seen.add(file)
    try:
        data = read_whole(file, LARGEST)
        check_yaml(data)
        found = yaml.load(data, Loader=_Looked)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"{file} cannot be read: {error}") from None
    for value in _leaves(found):
        if isinstance(value, _Code) and not code:
            raise SettingError(f"{file} runs Python code (!function {value}). {_ALLOW}")
        if not fetch and "://" in value:
            raise SettingError(
                f"{file} names data at a URL; fetch it by hand, or set objective.lm_eval.fetch=true"
            )
    if isinstance(found, dict) and not isinstance(found.get("task", ""), str | list):
        raise DataError(f"{file} has task: {found['task']}, which is no name: put it in quotes")
    others = found.get("include") if isinstance(found, dict) else None
    for other in others if isinstance(others, list) else [others]:
        if isinstance(other, str):
            _check_file((file.parent / other).resolve(), code, fetch, seen)


def _leaves(value: Any) -> Iterator[str]:
    """All texts in nested values, keys among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        for one in inner:
            yield from _leaves(one)
