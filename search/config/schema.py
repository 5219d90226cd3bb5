"""What a configuration holds: every key with its meaning, its default and what it may be.

Owns the defaults of the whole program. The docstring under a field is the field's description, from
which `search.config.reference` writes docs/config.md. `search.config.compose` reads files and
overrides into these models; nothing here knows what is done with the values.
"""

from __future__ import annotations

import math
from dataclasses import replace
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model, model_validator

from objectives import targets
from objectives.own import is_own, own_settings
from objectives.settings import Count, Positive, Settings, Share, Strict
from objectives.target import Target
from objectives.words import did_you_mean
from search.common.errors import ConfigError
from search.config.fields import Address, Budget, Engines, Location, RivalMethod, Task
from search.config.secrets import Database
from search.config.space import SpaceConfig

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


MOST_EXPERTS = 100
"""Of the task, and of a language: all their pairs are made."""


class FamilyConfig(Strict):
    """Where a family's models are.

    A model is a folder with safetensors, or `org/name@revision` on the Hugging Face hub, or an
    address such as `s3://bucket/name`. Relative folders are looked up beside the YAML, then from
    here; a folder that exists comes before a hub id. A folder may be a whole model or a LoRA
    adapter (PEFT) of the base.
    """

    name: Name
    """Name of the family: part of the study's name and of MLflow's experiment."""

    base: Location
    """The model that all experts were fine-tuned from."""

    task: Annotated[tuple[Location, ...], Field(min_length=1)]
    """Experts of the task (English math), one at least; `space.pairs` counts them from 0."""

    language: Annotated[dict[Name, tuple[Location, ...]], Field(min_length=1)]
    """Language code -> experts of that language, one at least; `space.pairs` counts from 0."""

    references: dict[Name, Location] = {}
    """Name -> further models, which are never merged: each is scored for the final table."""

    allow_bin: bool = False
    """Read pickled weights (`*.bin`) where a model or an adapter has no safetensors."""

    @model_validator(mode="after")
    def _experts(self) -> FamilyConfig:
        groups = {"task": self.task, **{f"language.{c}": e for c, e in self.language.items()}}
        for group, experts in groups.items():
            if len(experts) > MOST_EXPERTS:
                raise ValueError(
                    f"{group} has {len(experts)} experts, and at most {MOST_EXPERTS} can be paired"
                )
        empty = [code for code, experts in self.language.items() if not experts]
        if empty:
            raise ValueError(f"no expert is listed for {', '.join(empty)}")
        return self


class ObjectiveShared(Strict):
    """What a merge is scored on, and what all its objectives share."""

    if TYPE_CHECKING:  # `targets.OBJECTIVES` says which there are; each has a key of its name
        mgsm: Any
        lcpr: Any
        lm_eval: Any
        code: Any

    task: Task | Annotated[tuple[Task, ...], Field(min_length=1)] = "mgsm"
    """What is maximised: `mgsm`, `lm_eval`, `code`, or `package.module:Class`, a class of one's own
    (see docs/objectives.md), whose settings are `own`; or several of them."""

    combine: Literal["mean", "worst"] | dict[str, Annotated[float, Field(gt=0, lt=math.inf)]] = (
        "mean"
    )
    """What several tasks come to: their mean, the worst of them, or task -> its weight in the
    mean."""

    language: Literal["lcpr", "none"] = "lcpr"
    """What says whether a merge answers in the language: `lcpr`, or `none` for tasks without
    one."""

    own: dict[str, Any] = {}
    """Settings of the class that `task` names."""

    also: tuple[str, ...] = ()
    """Further objectives that are scored and recorded, by their sections; `constraints` may hold
    recipes to their scores."""

    constraints: dict[str, Annotated[float, Field(strict=True)]] = {}
    """Score -> how low the recommended recipe's may be: any score that an objective gives, but for
    the one that is optimised. Without a constraint only LCPR has a floor: the language expert's,
    less `search.tolerance`."""

    chat: bool = False
    """Write prompts by the model's own chat template (`--chat`), for models that are tuned to
    instructions."""

    chat_template_kwargs: dict[str, Any] = {}
    """Values for the chat template, such as `{enable_thinking: false}`, of any name it knows."""

    thinking_tokens: Count = 0
    """Most tokens that a model may think, between `<think>` and `</think>`, before each answer; on
    top of the answer's `max_tokens`. What it thought is never scored. 0: it does not think; where
    it does all the same, MGSM leaves it out and LCPR judges it, as published."""

    confusion_points: bool = False
    """Record how sure the model was of each token that it wrote for LCPR, for
    `python -m search.report.confusion`."""

    seed: int = 0
    """Seed of the split into search and held-out items, of each prompt's sampling and of the
    bootstrap."""

    coverage_floor: Share = 0.5
    """Lowest share of responses that must be long enough to be judged; under it a trial is
    infeasible."""

    lid: Path | None = None
    """fastText model that tells languages (`--lid`). None: `lid.176.ftz`, which comes with a
    package."""

    @model_validator(mode="after")
    def _traced_answers(self) -> ObjectiveShared:
        if self.confusion_points and self.thinking_tokens:
            raise ValueError(
                f"confusion_points is true and thinking_tokens {self.thinking_tokens}: points are "
                "of whole responses, set one of the two to its default"
            )
        return self

    @model_validator(mode="after")
    def _constraints(self) -> ObjectiveShared:
        own = sum(map(is_own, self.tasks))
        if self.own and not own:
            first = self.tasks[0]
            raise ValueError(f"own has settings, but task is {first}: its key is {first}")
        if own > 1:
            raise ValueError("task names two classes of one's own, and own has settings of one")
        twice = [name for name in self.tasks if self.tasks.count(name) > 1]
        if twice:
            raise ValueError(f"task names {twice[0]} twice")
        if len(self.tasks) == 1 and self.combine != "mean":
            raise ValueError("combine is set, but there is one task: name several, as a list")
        unknown = [name for name in self.also if name not in targets.OBJECTIVES]
        if unknown:
            near = did_you_mean(unknown[0], targets.OBJECTIVES)
            raise ValueError(f"also: {unknown[0]} is none of {', '.join(targets.OBJECTIVES)}{near}")
        asked = [*self.tasks, self.language, *self.also]
        again = [name for name in self.also if asked.count(name) > 1]
        if again:
            raise ValueError(f"also: {again[0]} is scored already, or named twice")
        bad = [name for name, least in self.constraints.items() if not math.isfinite(least)]
        if bad:
            raise ValueError(f"constraints.{bad[0]} is not a finite number")
        return self

    @property
    def tasks(self) -> tuple[str, ...]:
        """What is maximised, one or several."""
        return (self.task,) if isinstance(self.task, str) else self.task

    def settings(self, *, shipped: bool = False) -> dict[str, Settings]:
        """Name -> settings of each objective: the tasks first, then the language's.

        Args:
            shipped: leave out a class of one's own, whose module would be run here.

        Raises:
            ObjectiveError: a task is a class of one's own that cannot be used.
        """
        named = [self.language] if self.language != "none" else []
        found = {own.target.objective: own for own in self._tasks(shipped=shipped).values()}
        return found | {name: self._section(name) for name in (*named, *self.also)}

    def _tasks(self, *, shipped: bool = False) -> dict[str, Settings]:
        """Name of each task -> its settings."""
        found = {
            name: own_settings(name, self.own) if is_own(name) else self._section(name)
            for name in self.tasks
            if not (shipped and is_own(name))
        }
        objectives = [own.target.objective for own in found.values()]
        if len(set(objectives)) < len(objectives):
            raise ConfigError(f"objective.task: two of {', '.join(found)} are one objective")
        return found

    def _section(self, name: str) -> Settings:
        section: Settings | None = getattr(self, name)
        if section is None:
            raise ConfigError(f"objective.{name} is asked for, and has no settings: give its keys")
        return section

    def targets(self) -> tuple[Target, ...]:
        """What is optimised, first; then what must keep a floor.

        Raises:
            ConfigError: a constraint is of the score that is maximised.
            ObjectiveError: as `settings`.
        """
        tasks = {name: own.target for name, own in self._tasks().items()}
        main = targets.several(tasks, self.combine) if len(tasks) > 1 else [*tasks.values()][0]
        if main.score in self.constraints:
            raise ConfigError(f"objective.constraints.{main.score}: that is what is optimised")
        given = {own.target.score: own.target for own in self.settings().values()}
        known = {name: t for name, t in given.items() if t.objective == self.language}
        for score, least in self.constraints.items():
            plain = Target(score, "", score.replace("_", " "))
            known[score] = replace(given.get(score, plain), least=least)
        return (main, *known.values())


LEFT = " None: it is not asked for."

if TYPE_CHECKING:

    class ObjectiveConfig(ObjectiveShared):
        """`ObjectiveShared` with a field for each objective."""

else:
    ObjectiveConfig = create_model(
        "ObjectiveConfig",
        __base__=ObjectiveShared,
        __doc__=ObjectiveShared.__doc__,
        **{
            name: (settings | None, Field(None, description=cleandoc(settings.__doc__) + LEFT))
            for name, settings in targets.OBJECTIVES.items()
        },
    )


class EngineConfig(Strict):
    """How each engine is built.

    `search.engine.contract.EngineOptions` holds the same fields for the engine's process, without
    defaults.
    """

    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Dtype to compute in; auto follows the checkpoint."""

    max_model_len: Positive | None = None
    """Longest prompt plus answer, in tokens. None: as long as the objectives' longest prompt and
    answer, up to what the checkpoint says."""

    max_num_seqs: Positive = 256
    """How many requests run together."""

    tensor_parallel_size: Positive = 1
    """GPUs (on a CPU: sockets) that share one engine."""

    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of the GPU's memory, or of the engine's part of it where `search.gpus_per_engine` is
    under 1, for weights and key-value cache; unused on a CPU."""

    cpu_kv_cache_gib: Positive = 1
    """GiB of key-value cache on a CPU; unused on a GPU."""

    cpu_packed_gib: Annotated[float, Field(ge=0)] = 2
    """GiB of packed weights of whole experts that an engine on a CPU keeps, so that layers which
    come back need not be packed again; unused on a GPU."""

    enforce_eager: bool = False
    """No graph capture or compilation: starts faster, generates slower on a GPU."""

    batch_invariant: bool = False
    """An answer does not depend on what runs beside it (vLLM's batch-invariant mode): it needs a
    GPU of compute capability 8.0 or more, generates slower, and does not hold for mixtures of
    experts (vllm#57016)."""

    trace_top: Positive = 100
    """Tokens whose log-probabilities a traced request gets at each step
    (`objective.confusion_points`), if the vocabulary has more than 2,048
    (`search.engine.live.WHOLE_VOCABULARY`); see `search.engine.decode.sureness`."""

    direct_writes: bool = True
    """Write plain weights where vLLM keeps them; else all by vLLM's own reload."""

    expert_gpu_gib: Budget = "auto"
    """GiB of each GPU for experts, taken from `gpu_memory_utilization`. auto: what weights, the
    cache for all requests that run together, one step and a rewrite leave."""

    expert_pinned_gib: Budget = "auto"
    """GiB of `/dev/shm` for pinned copies of experts, for all engines of a node together. auto: as
    many as there are, up to 80% of `/dev/shm` and half of the node's memory."""


class RaceConfig(Strict):
    """When a trial is stopped that can hardly be the best; see `search.study.race`."""

    looks: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1)] = (
        0.5,
        0.75,
    )
    """Shares of the search items after which a trial is looked at, rising."""

    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """A trial is stopped when its chance to be as good as the best trial so far, or to keep the
    floor of LCPR, is lower."""

    @model_validator(mode="after")
    def _rising(self) -> RaceConfig:
        if list(self.looks) != sorted(set(self.looks)):
            shown = ", ".join(f"{share:g}" for share in self.looks)
            raise ValueError(f"looks are {shown}: each must be greater than the one before")
        return self


class MlflowConfig(Strict):
    """How much MLflow is told; see `search.study.tracking.runs`."""

    metrics: Literal["few", "all"] = "few"
    """Metrics of each run there: those that people compare, all others in its `metrics.json`; or
    all of them, some 80."""


class SearchConfig(Strict):
    """How the study runs."""

    trials: Positive = 40
    """Distinct recipes that are searched (`--trials`); base, experts and soups, which are scored
    first, are not counted."""

    baselines: dict[RivalMethod, Count] = {}
    """Rival method -> trials of its own, for a search of its own after the main one."""

    seed: int = 0
    """Seed of the sampler and of the engines."""

    sampler: Literal["gp", "gp_pareto", "tpe", "random", "nsga2"] = "gp"
    """What proposes recipes: a Gaussian process over all recipes of the space that keeps LCPR above
    its floor (`gp`) or looks for the whole front of accuracy and LCPR (`gp_pareto`), or a sampler
    of Optuna's."""

    startup_trials: Count = 10
    """Trials that must have ended before TPE models the scores, those that are scored first
    included; until then it draws at random. `gp` does so until four recipes of the space are
    scored."""

    engines: Engines | None = 1
    """Most engines that run at once, one trial on each. `cores`: one for each core of this machine,
    at most 8. None: as many as the machine or the cluster has room for."""

    reproducible: bool | None = None
    """Make proposal i from the trials up to i - k only, k being twice the number of engines (1 for
    one), so that with the same seed and number of engines the same recipes are proposed in the same
    order, whatever engine ends first. None: yes for up to 8 engines, no beyond or where `engines`
    is None."""

    cpus_per_engine: Annotated[float, Field(gt=0)] = 2
    """CPU cores that an engine takes."""

    gpus_per_engine: Annotated[float, Field(ge=0)] = 0
    """GPUs that an engine takes, all on one node."""

    address: Address | None = None
    """Address of the Ray cluster to join; never taken from a study that is resumed. None: what
    `RAY_ADDRESS` says, or else a Ray of its own on this machine."""

    trial_timeout: Annotated[float, Field(gt=0)] | None = None
    """Seconds after which a trial is ended and counts as failed; the fetching of experts is not
    counted. None: ten times the median of the trials before it, and half an hour at least."""

    tolerance: Share = 0.02
    """How far below the language expert's LCPR the recommended recipe may lie, as a share."""

    race: RaceConfig | None = RaceConfig()
    """Stop a trial early that can hardly be the best. None: each is scored on all items."""

    storage: Database | None = None
    """Database that keeps Optuna's study: `sqlite:///FILE`, `postgresql://USER:***@HOST/DATABASE`
    or `mysql://...`, its password in the environment variable `OPTUNA_STORAGE_PASSWORD`. None: a
    file in the study's folder."""

    soups: Literal["first", "all"] = "all"
    """Which pairs' plain averages are scored before the search: that of the first pair, or all."""

    check_finite: bool = True
    """Read every weight before the search and refuse NaN and infinity."""

    mlflow: MlflowConfig = MlflowConfig()
    """How much MLflow is told."""

    engine: EngineConfig = EngineConfig()
    """How each engine is built."""

    @model_validator(mode="after")
    def _gpus(self) -> SearchConfig:
        gpus, wanted = self.gpus_per_engine, self.engine.tensor_parallel_size
        if 0 < gpus < wanted:
            raise ValueError(
                f"gpus_per_engine {gpus:g} is less than engine.tensor_parallel_size {wanted}: an "
                f"engine needs all its GPUs, set search.gpus_per_engine={wanted}"
            )
        if self.engine.batch_invariant and not gpus:
            raise ValueError("engine.batch_invariant needs a GPU, and gpus_per_engine is 0")
        return self

    @model_validator(mode="after")
    def _known_engines(self) -> SearchConfig:
        if self.reproducible and self.engines is None:
            raise ValueError(
                "reproducible is true and engines is null: what is proposed depends on how many "
                "engines there are, name the number with search.engines=N"
            )
        return self


class Config(Strict):
    """The whole configuration of one study."""

    lang: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
    """Code of the target language (`--lang`), one of `family.language`."""

    family: FamilyConfig
    """The models."""

    objective: ObjectiveConfig
    """What a merge is scored on."""

    space: SpaceConfig
    """What the search varies."""

    search: SearchConfig
    """How the study runs."""

    @model_validator(mode="after")
    def _front(self) -> Config:
        plain = self.objective.language == "none" and not self.objective.constraints
        if plain and self.search.sampler == "gp_pareto":
            raise ValueError(
                "search.sampler is gp_pareto, which looks for a front of two scores, and there is "
                "one (objective.language is none): set search.sampler=gp"
            )
        return self
