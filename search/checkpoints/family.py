"""A family of checkpoints: base, task experts, language experts, references; do they fit together?

Owns the check that runs before any engine is built: `examine` looks at headers only and finds all
faults at once; `fit` then downloads what is missing, merges LoRA adapters and looks for NaN. Knows
nothing of recipes or engines.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from objectives.words import counted, did_you_mean
from search.checkpoints.cache import alone, store
from search.checkpoints.checkpoint import Checkpoint, revision_of
from search.checkpoints.compatibility import (
    Comparison,
    head_fault,
    look_at,
    look_at_base,
    one_head,
)
from search.checkpoints.files import choose, read_by_others
from search.checkpoints.sources import hub, url
from search.checkpoints.sources.cast import like_base
from search.checkpoints.sources.lora import open_adapter
from search.checkpoints.sources.pickled import open_pickled
from search.checkpoints.tokenizer import Difference, parse
from search.common.errors import CheckpointError, ConfigError, ExpertMismatchError, HubError
from search.merging.methods.method import Recipe
from search.merging.plan import NO_ROWS, Plan, Rows, layer_of, plan

Location = str | Path
"""A folder of a model or of a LoRA adapter, `org/name@revision` on the Hugging Face hub, or a URL
that fsspec reads."""


@dataclass(frozen=True)
class Family:
    """Where the checkpoints of a family lie.

    Attributes:
        name: name of the family, used in MLflow and in the study's name.
        base: the base model.
        task: the task experts.
        language: language code -> its experts.
        references: name -> further checkpoints that are only scored.
        allow_bin: read pickled weights (pytorch_model*.bin) where there are no safetensors.
    """

    name: str
    base: Location
    task: tuple[Location, ...]
    language: Mapping[str, tuple[Location, ...]]
    references: Mapping[str, Location]
    allow_bin: bool = False

    def sources(self, lang: str) -> dict[str, Location]:
        """Source name -> location, for one target language.

        Raises:
            ConfigError: the family has no expert for the language.
        """
        if lang not in self.language:
            raise ConfigError(
                f"--lang {lang}: family {self.name} has no expert for it; it has "
                f"{', '.join(sorted(self.language)) or 'none'}{did_you_mean(lang, self.language)}"
            )
        return self._named({"lang": self.language[lang]})

    def all_sources(self) -> dict[str, Location]:
        """Source name -> location, for all languages: their experts are `<code>/<i>`."""
        return self._named(self.language)

    def _named(self, language: Mapping[str, tuple[Location, ...]]) -> dict[str, Location]:
        found = {"base": self.base}
        for group, places in {"task": self.task, **language}.items():
            found |= {f"{group}/{i}": place for i, place in enumerate(places)}
        return found | {f"reference/{name}": place for name, place in self.references.items()}


@dataclass(frozen=True)
class FittedFamily:
    """Checkpoints that are known to fit together.

    Attributes:
        sources: source name -> opened checkpoint; each is a folder of plain safetensors, but for
            those that `fit` was told not to fetch.
        n_layers: number of layers L.
        names: tensor names, in the order of the layers.
        locations: source name -> where `fit` finds just these weights again, on any machine: an
            absolute folder, `org/name@commit`, `URL#key`.
        rows: rows of the embeddings that not all of them know.
        notes: source name -> what is to be known of it.
    """

    sources: Mapping[str, Checkpoint]
    n_layers: int
    names: tuple[str, ...]
    locations: Mapping[str, str]
    rows: Rows = NO_ROWS
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def base(self) -> Checkpoint:
        """The base model's checkpoint."""
        return self.sources["base"]

    def plan(self, recipe: Recipe) -> Plan:
        """How every tensor of a merge is made; see `search.merging.plan.plan`."""
        return plan(recipe, self.names, self.n_layers, self.rows)

    @property
    def paths(self) -> dict[str, str]:
        """Source name -> absolute folder."""
        return {name: str(c.path.resolve()) for name, c in self.sources.items()}

    @property
    def revisions(self) -> dict[str, str]:
        """Source name -> `org/name@commit`, or what was merged; plain folders have none."""
        return {name: c.revision for name, c in self.sources.items() if c.revision}


@dataclass(frozen=True)
class Examined:
    """What the headers of a family's checkpoints say; `fit` goes on from here.

    Attributes:
        locations: source name -> location, as asked for.
        allow_bin: whether pickled weights may be read.
        online: whether the hub answered; True where it was not needed.
        opened: source name -> checkpoint, base first: its headers, perhaps without the weights.
        unopened: source name -> why it cannot be opened.
        misfits: source name -> why it does not fit the base; for `base`, why it cannot be searched.
        notes: source name -> what is no fault and yet to be known.
        tokens: source name -> how its tokenizer differs from the base's.
    """

    locations: Mapping[str, Location]
    allow_bin: bool
    online: bool
    opened: dict[str, Checkpoint] = field(default_factory=dict)
    unopened: dict[str, CheckpointError] = field(default_factory=dict)
    misfits: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    tokens: dict[str, Difference] = field(default_factory=dict)

    def raise_faults(self) -> None:
        """Raise everything that was found, as one error.

        Raises:
            CheckpointError: one or more checkpoints cannot be opened.
            ExpertMismatchError: all can, and one or more do not fit.
        """
        if (error := self.error()) is not None:
            raise error

    def error(self) -> CheckpointError | None:
        """Everything that was found, as one error; None if the family fits."""
        parts = []
        if self.unopened:
            faults = [f"{name}: {error}" for name, error in self.unopened.items()]
            parts.append(_list("checkpoint", faults, "that cannot be opened"))
        if any(isinstance(e, HubError) and e.unreachable for e in self.unopened.values()):
            parts.append(hub.WAYS_OUT)
        if "base" in self.misfits:
            faults = [f"{self.locations['base']} {fault}" for fault in self.misfits["base"]]
            parts.append(_list("reason", faults, "why this base cannot be searched"))
        misfits = {name: faults for name, faults in self.misfits.items() if name != "base"}
        if misfits:
            faults = [f"{n} ({self.locations[n]}) {fault}" for n in misfits for fault in misfits[n]]
            parts.append(_list("fault", faults, "of experts, which do not fit the base"))
        kind = CheckpointError if self.unopened else ExpertMismatchError
        return kind("\n".join(parts)) if parts else None

    def remarks(self) -> list[str]:
        """What is no fault and yet to be known, a line each."""
        return [
            f"{name} ({self.locations[name]}) {note}"
            for name, notes in self.notes.items()
            for note in notes
        ]

    def fit(self, *, check_finite: bool = True, fetch: bool = True) -> FittedFamily:
        """Have all weights at hand; see the function `fit`.

        Args:
            check_finite: read every weight that is at hand, and refuse NaN and infinity.
            fetch: False leaves what lies elsewhere there, as only engines on other machines need
                it; of those, headers are known.
        """
        self.raise_faults()
        ready: dict[str, Checkpoint] = {}
        here: dict[str, Checkpoint] = {}
        pinned: dict[str, str] = {}
        for name, seen in self.opened.items():
            location, far = self.locations[name], is_remote(self.locations[name])
            # What was examined, wherever a branch is now.
            place = revision_of(seen.path) if far else Path(location).expanduser().absolute()
            pinned[name] = str(place)
            if not fetch and (far or (seen.derived is not None and "base" not in here)):
                ready[name] = seen
                continue
            opened = self._open(pinned[name], ready.get("base"), weights=True)
            if name == "base":
                opened = alone(opened)
            elif "base" in here:
                opened = like_base(one_head(opened, here["base"]), here["base"])
            if fault := head_fault(opened):
                raise ExpertMismatchError(f"{name} ({self.locations[name]}) {fault}")
            stored = store(opened)
            ready[name] = here[name] = stored.named_as(ready.get("base", stored))
        if check_finite:
            _refuse_non_finite(here)
        base = ready["base"]
        order = sorted(base.tensors, key=lambda n: (-1 if (x := layer_of(n)) is None else x, n))
        sources = {name: ready[name] for name in self.locations}
        return FittedFamily(
            sources, base.n_layers, tuple(order), pinned, self._rows(base), self.notes
        )

    def _rows(self, base: Checkpoint) -> Rows:
        """Rows within the base's that not all checkpoints know."""
        experts = {name: found for name, found in self.tokens.items() if name != "base"}
        known: dict[int, set[str]] = {}
        for row in {row for found in experts.values() for row in found.lacking}:
            known[row] = {"base", *(n for n, found in experts.items() if row not in found.lacking)}
        for name, found in experts.items():
            for row in found.added:  # by whatever name: what two call differently is no one's alone
                known.setdefault(row, set()).add(name)
        names = frozenset(name for name in base.tensors if base.rows_of(name))
        inside = {row: frozenset(who) for row, who in known.items() if row < base.rows}
        return Rows(names, inside) if inside else NO_ROWS

    def _open(self, location: Location, base: Checkpoint | None, *, weights: bool) -> Checkpoint:
        """A checkpoint, its tensors by the base's names."""
        opened = self._read(location, base, weights=weights)
        return opened.named_as(base) if base else opened

    def _read(self, location: Location, base: Checkpoint | None, *, weights: bool) -> Checkpoint:
        folder, address = Path(location).expanduser(), str(location)
        if hub.is_id(location):
            how = {"online": self.online, "allow_bin": self.allow_bin}
            folder = hub.fetch(address, weights=weights, **how)
            found = hub.choose_there(folder, online=self.online)
        elif url.is_url(location):
            folder = url.fetch(address, weights=weights, allow_bin=self.allow_bin)
            found = url.choose_there(address)
        else:
            found = choose(folder)
        if found.kind == "adapter":
            return open_adapter(folder, base, found, allow_bin=self.allow_bin)
        if found.kind == "pickled" and self.allow_bin:
            return open_pickled(folder, found.notes)
        if not is_remote(location) or (found.files and _all_in(folder, found.files)):
            return Checkpoint.open(folder)
        read = (
            hub.headers(folder, found, online=self.online)
            if hub.is_id(location)
            else url.headers(address)
        )
        return Checkpoint.of(folder, read, notes=found.notes)


def _all_in(folder: Path, files: Sequence[str]) -> bool:
    return all((folder / file).is_file() for file in files)


def is_remote(location: Location) -> bool:
    """Whether a place is the hub's or a URL, to be fetched by each machine that needs it."""
    return hub.is_id(location) or url.is_url(location)


def fit(
    sources: Mapping[str, Location], *, check_finite: bool = True, allow_bin: bool = False
) -> FittedFamily:
    """Check that every checkpoint fits the base, by headers; then have all weights at hand.

    Models of the hub and at URLs are downloaded, LoRA adapters merged and pickled weights
    converted, once.

    Args:
        sources: source name -> location; must hold `base`.
        check_finite: read every weight once and refuse NaN and infinity (about 1 GB/s).
        allow_bin: read pickled weights where there are no safetensors.

    Raises:
        CheckpointError: one or more checkpoints cannot be opened or hold NaN; all are named.
        ExpertMismatchError: one or more do not fit the base; all mismatches are named.
    """
    return examine(sources, allow_bin=allow_bin).fit(check_finite=check_finite)


def examine(sources: Mapping[str, Location], *, allow_bin: bool = False) -> Examined:
    """Open the headers of every checkpoint and find all that does not fit; raises nothing.

    Of a model of the hub or a URL that is not cached, small files and headers are read; pickled
    weights, which have no header, are downloaded where `allow_bin` says so.

    Args:
        sources: source name -> location; must hold `base`.
        allow_bin: read pickled weights where there are no safetensors.
    """
    online = hub.reachable() if any(map(hub.is_id, sources.values())) else True
    found = Examined(sources, allow_bin, online)
    remembered = functools.lru_cache(4)(parse)  # most experts have the base's files: parsed once
    for name in sorted(sources, key=lambda name: name != "base"):
        base = found.opened.get("base")
        try:
            with read_by_others(str(sources[name])):
                checkpoint = found._open(sources[name], base, weights=False)
                if name == "base":
                    seen = look_at_base(checkpoint)
                else:
                    seen = look_at(base, checkpoint, remembered) if base else Comparison()
        except ExpertMismatchError as error:
            found.misfits[name] = [str(error)]
            continue
        except CheckpointError as error:
            found.unopened[name] = error
            continue
        found.opened[name] = checkpoint
        if seen.faults:
            found.misfits[name] = seen.faults
        if seen.notes:
            found.notes[name] = seen.notes
        found.tokens[name] = seen.tokens
    return found


def _refuse_non_finite(sources: Mapping[str, Checkpoint]) -> None:
    faults = []
    for name, checkpoint in sources.items():
        bad = list(checkpoint.non_finite())
        if bad:
            more = f" and {counted(len(bad) - 1, 'more tensor')}" if len(bad) > 1 else ""
            faults.append(f"{name} ({checkpoint.path}) has NaN or infinity in {bad[0]}{more}")
    if faults:
        raise CheckpointError(_list("model", faults, "with weights that are not finite"))


def _list(what: str, faults: Sequence[str], which: str) -> str:
    return f"{counted(len(faults), what)} {which}:\n  " + "\n  ".join(faults)
