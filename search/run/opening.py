"""Which study a command line means: a new one, one to go on with, or one that gets more trials.

Owns what may differ between a study and the command that goes on with it, and what study.yaml says
once the checks have passed. Starts nothing. Which files are unchanged is
`search.run.fingerprint`'s, what a study's best recipes are in another one `search.run.imports`'s.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import yaml

from objectives import targets
from search.common.errors import ConfigError, StudyError
from search.common.values import differences, flatten
from search.config import compose, trust
from search.config.schema import Config
from search.records.head import StudyHead
from search.records.reader import RecordsReader
from search.records.study_path import StudyPath, check_name
from search.records.writer import RecordsWriter
from search.run import fingerprint, imports
from search.run.fingerprint import Fingerprints
from search.run.prepare import Prepared, versions

FREE = frozenset(
    f"search.{name}"
    for name in (
        "address",
        "cpus_per_engine",
        "engines",
        "gpus_per_engine",
        "reproducible",
        "storage",
        "trial_timeout",
    )
)
"""Keys that may change while a study goes on: where it runs and is kept, never what is scored.

With another number of engines other recipes may be proposed; each has the scores it would have had.
"""


@dataclass(frozen=True)
class Opened:
    """A study that this process holds.

    Attributes:
        config: what to run with.
        records: the study, locked.
        head: what study.yaml will say when the checks have passed.
        new: whether this command began it.
        source: the study whose best recipes are proposed first.
    """

    config: Config
    records: RecordsWriter
    head: StudyHead
    new: bool
    source: StudyPath | None = None

    def drop(self) -> None:
        """Leave a study as it was found: a new one is removed."""
        if self.new:
            self.records.discard()
        else:
            self.records.close()


def begin(config: Config, out: StudyPath, name: str, source: StudyPath | None = None) -> Opened:
    """A new study.

    Raises:
        ConfigError: the name cannot be a folder's.
        StudyError: there is one of this name, or the folder cannot be written.
    """
    check_name(name)
    head = StudyHead(name, config.model_dump(mode="json"), versions())
    return Opened(config, RecordsWriter.create(out / name, head), head, new=True, source=source)


def begin_or_resume(
    config: Config, out: StudyPath, name: str, source: StudyPath | None = None
) -> Opened:
    """The study of this name if there is one, which must have this configuration; else a new one.

    A study that was extended goes on with all its trials: the command that began it still means it.

    Raises:
        ConfigError: the name cannot be a folder's.
        StudyError: it has another configuration; or as `begin` and `resume`.
    """
    check_name(name)
    path = out / name
    if not RecordsReader.exists(path):
        return begin(config, out, name, source)
    records = RecordsWriter.open(path)
    try:
        head = records.head()
        config = matching_config(config, head, path)
    except BaseException:
        records.close()
        raise
    begun = bool(records.trials or head.imported)
    return Opened(config, records, head, new=False, source=None if begun else source)


def resume(
    path: StudyPath, overrides: Sequence[str] = (), trials: int = 0, *, trusted: bool = False
) -> Opened:
    """An existing study, with its own configuration, but for the Ray cluster that it ran on.

    A cluster runs code on this machine: its address comes from the command or the environment.

    Args:
        path: the study's folder.
        overrides: of keys in `FREE`.
        trials: added to its budget.
        trusted: use the other addresses that study.yaml alone knows.

    Raises:
        ConfigError: an override of another key, or study.yaml is no configuration, or knows an
            address that nobody has named.
        StudyError: no study is there, another driver holds it, or it cannot be read.
    """
    records = RecordsWriter.open(path)
    try:
        head = records.head()
        config, head = resumed_config(head, path, overrides, trials, trusted=trusted)
    except BaseException:
        records.close()
        raise
    return Opened(config, records, head, new=False)


def verify_and_update(opened: Opened, prepared: Prepared) -> Prepared:
    """Compare models and data with what the study's trials saw; then bring study.yaml up to date.

    Returns:
        The study with a warning for each package that has another version now.

    Raises:
        StudyError: models or data have changed, or the study to import from cannot be read.
    """
    head, records = opened.head, opened.records
    found = prepared.fingerprints
    if records.trials:
        before = Fingerprints(head.family, head.data)
        fingerprint.refuse_changed(before, found, str(records.path))
    warnings = [
        f"{name} is {version} now, and was {head.versions[name]} when {head.name} began: scores of "
        "old and new trials may differ by it"
        for name, version in versions().items()
        if head.versions.get(name, version) != version
    ]
    if opened.source is not None:
        known = targets.TARGETS
        head = replace(head, imported=imports.best(opened.source, prepared.space))
        targets.use(known)
    layers = prepared.family.n_layers
    optimised = [asdict(target) for target in targets.TARGETS]
    head = replace(head, layers=layers, family=found.family, data=found.data, targets=optimised)
    records.rewrite(head)
    return replace(prepared, warnings=[*prepared.warnings, *warnings])


def finish(records: RecordsWriter) -> None:
    """Note that the final table is complete."""
    head = records.head()
    if not head.finished:
        records.rewrite(replace(head, finished=_now()))


def own_name(config: Config) -> str:
    """A name that is the same for the same command, and another for every other."""
    kept = {k: v for k, v in flatten(config.model_dump(mode="json")).items() if k not in FREE}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
    return f"{config.family.name}-{config.lang}-{digest[:8]}"


def matching_config(config: Config, head: StudyHead, path: StudyPath) -> Config:
    """The configuration of a study that exists, as the command that begins it means it.

    Raises:
        StudyError: it has another one.
    """
    if config.search.trials in {added["budget"] - added["trials"] for added in head.extensions}:
        budget = {"trials": head.extensions[-1]["budget"]}
        config = config.model_copy(update={"search": config.search.model_copy(update=budget)})
    faults = _changes(head.config, config.model_dump(mode="json"))
    if faults:
        raise StudyError(
            f"study {path} exists with another configuration: {', '.join(faults)}; name "
            f"another with --study, or give it more trials with --extend {path}"
        )
    return config


def resumed_config(
    head: StudyHead, path: StudyPath, overrides: Sequence[str], trials: int, *, trusted: bool
) -> tuple[Config, StudyHead]:
    """What a study goes on with, and what its head will say. Arguments and errors as `resume`."""
    fixed = [text for text in overrides if text.partition("=")[0] not in FREE]
    if fixed:
        raise ConfigError(
            f"{path}/study.yaml says what is searched and scored: leave out {', '.join(fixed)}; "
            f"only {', '.join(sorted(FREE))} may change; --extend {path} --trials N adds trials"
        )
    config = compose.parse(head.config)
    if trials:
        budget = config.search.trials + trials
        added = {"when": _now(), "trials": trials, "budget": budget}
        kept: dict[str, Any] = json.loads(json.dumps(head.config))
        kept["search"]["trials"] = budget
        head = replace(head, config=kept, extensions=[*head.extensions, added], finished="")
        config = compose.parse(kept)
    config = _with_overrides(config, ["search.address=null", *overrides])
    if not trusted:
        named = {text.partition("=")[0] for text in overrides}
        trust.refuse_foreign(config, f"{path}/study.yaml", named)
    return config, head


def _changes(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What differs between two configurations, `FREE` keys left out; the first five."""
    return [text for name, text in differences(there, here) if name not in FREE][:5]


def _with_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """The configuration with other values of keys in `FREE`."""
    data = config.model_dump(mode="json")
    data["search"]["storage"] = config.search.storage  # a dump hides its password
    for text in overrides:
        name, _, value = text.partition("=")
        try:
            data["search"][name.removeprefix("search.")] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise ConfigError(f"{name}: its value is not YAML") from None
    return compose.parse(data)


def _now() -> str:
    """The time in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
