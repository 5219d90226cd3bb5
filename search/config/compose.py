"""conf/*.yaml, a family of one's own and the command line -> one validated, frozen configuration.

Owns every default and every range of what a user writes. Groups are composed with OmegaConf, then
pydantic checks the whole and all faults are reported together. Knows nothing of what is done with
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, ValidationError, model_validator
from yaml import YAMLError

import search
from search.config.fields import (
    Beams,
    Count,
    FewShots,
    Location,
    Nucleus,
    Positive,
    RivalMethod,
    Share,
    Strict,
    Temperature,
)
from search.config.secrets import Database
from search.config.space import SpaceConfig
from search.errors import ConfigError
from search.masking import masked

CONF = Path(search.__file__).resolve().parents[1] / "conf"
GROUPS = ("family", "objective", "space", "search")

_HINTS = {
    "objective.lcpr.data_dir": "; name the folder of LCB's test sets with --lcb-dir",
}
_PATH_KEYS = {"base", "task", "language", "references", "data_dir", "examples", "words", "lid"}


class FamilyConfig(Strict):
    """Where a family's models are: folders, or `org/name@revision` on the Hugging Face hub.

    Relative folders are looked up beside the YAML, then from here; a folder that exists comes
    before a hub id. A folder may be a whole model or a LoRA adapter (PEFT) of the base. `allow_bin`
    reads pickled weights where a model has no safetensors.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    base: Location
    task: Annotated[tuple[Location, ...], Field(min_length=1)]
    language: Annotated[dict[str, tuple[Location, ...]], Field(min_length=1)]
    references: dict[str, Location] = {}
    allow_bin: bool = False

    @model_validator(mode="after")
    def _experts(self) -> FamilyConfig:
        empty = [code for code, experts in self.language.items() if not experts]
        if empty:
            raise ValueError(f"no expert is listed for {', '.join(empty)}")
        return self


class MgsmConfig(Strict):
    """Math problems in MGSM's files (`data_dir`) or of the Hugging Face hub (`dataset`).

    `mode` is what stands before an answer: chain of thought in the language or in English, or the
    bare number; `template` None gives the language's own question and answer words; `extraction`
    strict wants the answer phrase of the language, flexible takes the last number whatever language
    it is in; `stop` None ends an answer at the next question; without `shuffle` the first items of
    the file are searched on and those after them held out.
    """

    data_dir: Path | None = None
    dataset: str | None = None
    mode: Literal["native_cot", "english_cot", "direct"] = "native_cot"
    shots: Annotated[int, Field(ge=0, le=8)] = 8
    template: str | None = None
    max_tokens: Positive = 512
    stop: tuple[str, ...] | None = None
    search_items: Positive = 150
    held_out_items: Positive = 100
    extraction: Literal["strict", "flexible"] = "strict"
    shuffle: bool = True

    @model_validator(mode="after")
    def _source(self) -> MgsmConfig:
        if (self.data_dir is None) == (self.dataset is None):
            raise ValueError(
                "name one of the two: the folder of MGSM's files with --mgsm-dir (data_dir), or a "
                "data set of the hub (dataset)"
            )
        return self


class LcprConfig(Strict):
    """Prompts in the Language Confusion Benchmark's files, with its published decoding.

    `shots` of the worked examples in the file `examples` stand before each prompt.
    """

    data_dir: Path
    template: str | None = None
    shots: FewShots = 0
    examples: Path | None = None
    max_tokens: Positive = 100
    temperature: Temperature = 0.3
    top_p: Nucleus = 0.75
    beam_width: Beams = 1
    stop: tuple[str, ...] = ()
    search_items: Positive = 100
    held_out_items: Positive = 100
    settings: Annotated[tuple[Literal["crosslingual", "monolingual"], ...], Field(min_length=1)] = (
        "crosslingual",
    )
    words: Path | None = None


class ObjectiveConfig(Strict):
    """What a merge is scored on; `seed` fixes split and sampling, `lid` names a model file.

    `chat` writes prompts by the model's own chat template; `confusion_points` records how sure the
    model was of each token that it wrote for LCPR.
    """

    mgsm: MgsmConfig
    lcpr: LcprConfig
    chat: bool = False
    confusion_points: bool = False
    seed: int = 0
    coverage_floor: Share = 0.5
    lid: Path | None = None


class EngineConfig(Strict):
    """How each engine is built: `search.engine.live.EngineOptions`, field by field."""

    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    max_model_len: Positive | None = None
    max_num_seqs: Positive = 256
    tensor_parallel_size: Positive = 1
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9
    cpu_kv_cache_gib: Positive = 1
    enforce_eager: bool = False
    trace_top: Positive = 100
    direct_writes: bool = True
    expert_gpu_gib: Annotated[float, Field(ge=0)] = 0
    expert_pinned_gib: Annotated[float, Field(ge=0)] = 0


class SearchConfig(Strict):
    """How the study runs.

    `trials` counts distinct recipes, the baselines that are scored first not included; `baselines`
    gives each rival method trials of its own. `engines` None takes as many as the machine or the
    cluster has room for. `tolerance` is how far below the language expert's LCPR the recommended
    recipe may lie, as a share. `storage` None keeps Optuna's study in the study's folder.
    A trial that takes longer than `trial_timeout` seconds is ended and counts as failed; None is
    ten times the median of the trials before it, and half an hour at least.
    """

    trials: Positive = 40
    baselines: dict[RivalMethod, Count] = {}
    seed: int = 0
    sampler: Literal["tpe", "random", "nsga2"] = "tpe"
    startup_trials: Count = 10
    engines: Positive | None = 1
    cpus_per_engine: Annotated[float, Field(gt=0)] = 2
    gpus_per_engine: Annotated[float, Field(ge=0)] = 0
    address: str | None = None
    trial_timeout: Annotated[float, Field(gt=0)] | None = None
    tolerance: Share = 0.02
    storage: Database | None = None
    soups: Literal["first", "all"] = "all"
    check_finite: bool = True
    engine: EngineConfig = EngineConfig()

    @model_validator(mode="after")
    def _gpus(self) -> SearchConfig:
        gpus, wanted = self.gpus_per_engine, self.engine.tensor_parallel_size
        if 0 < gpus < wanted:
            raise ValueError(
                f"gpus_per_engine {gpus:g} is less than engine.tensor_parallel_size {wanted}: an "
                f"engine needs all its GPUs, set search.gpus_per_engine={wanted}"
            )
        return self


class Config(Strict):
    """The whole configuration of one study."""

    lang: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
    family: FamilyConfig
    objective: ObjectiveConfig
    space: SpaceConfig
    search: SearchConfig


def load(overrides: Sequence[str] = (), flags: Mapping[str, Any] | None = None) -> Config:
    """Compose the groups, apply overrides, validate.

    Args:
        overrides: `group=name`, `group=file.yaml` or `key.of.a.value=VALUE`.
        flags: dotted key -> value from command line flags; None values are left out.

    Raises:
        ConfigError: with every fault found, each with its path, its value and what is allowed.
    """
    choices = _read(CONF / "config.yaml")
    values: list[str] = []
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
        merged.merge_with_dotlist(values)
        for key, flag in (flags or {}).items():
            if flag is not None:
                OmegaConf.update(merged, key, flag)
        data = OmegaConf.to_container(merged, resolve=True)
    except (OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"an override cannot be applied: {error}") from None
    return parse(data)


def parse(data: Any) -> Config:
    """A plain mapping, such as a study.yaml, as a configuration.

    Raises:
        ConfigError: with every fault found.
    """
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        lines = [_explain(dict(fault)) for fault in error.errors()]
        raise ConfigError(
            f"{len(lines)} faults in the configuration:\n  " + "\n  ".join(lines)
        ) from None


def _group(group: str, choice: str) -> dict[str, Any]:
    own = choice.endswith((".yaml", ".yml"))
    file = Path(choice).expanduser() if own else CONF / group / f"{choice}.yaml"
    if not file.is_file():
        shipped = ", ".join(sorted(p.stem for p in (CONF / group).glob("*.yaml")))
        raise ConfigError(
            f"{group}={choice}: no such file; shipped are {shipped}, or name a .yaml file"
        )
    data = _read(file)
    return _resolve_paths(data, file.resolve().parent)


def _read(file: Path) -> dict[str, Any]:
    try:
        loaded = OmegaConf.load(file)
        data = OmegaConf.to_container(loaded) if isinstance(loaded, DictConfig) else None
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{file} must hold a mapping of keys to values")
    return {str(key): value for key, value in data.items()}


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


def _explain(fault: dict[str, Any]) -> str:
    path = ".".join(str(part) for part in fault["loc"]) or "(whole)"
    if fault["type"] == "extra_forbidden":
        return f"{path} = {masked(repr(fault['input']))}: unknown key; {_allowed(fault['loc'])}"
    if fault["type"] == "missing":
        return f"{path}: missing; give it in the YAML or as {path}=VALUE"
    hint = _HINTS.get(path, "") if fault["input"] is None else ""
    value = "" if isinstance(fault["input"], Mapping) else f" = {masked(repr(fault['input']))}"
    return f"{path}{value}: {fault['msg'].removeprefix('Value error, ')}{hint}"


def _allowed(location: Sequence[int | str]) -> str:
    model: Any = Config
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field else None
    return "allowed are " + ", ".join(getattr(model, "model_fields", {}) or ["none"])
