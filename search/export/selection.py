"""What to export: a trial of a study, a run in MLflow, or a recipe that somebody wrote down.

Owns how each is named and found. A study that MLflow alone still has is made again from its runs.
Opens no checkpoint.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from objectives.bounds import read_whole
from objectives.types import Score
from objectives.words import counted, did_you_mean
from search.checkpoints.family import Family
from search.common.errors import RecipeError, SearchError, StudyError
from search.config import compose
from search.config.schema import Config
from search.merging.recipe import LayerSwap, Recipe, from_dict
from search.records.reader import RecordsReader
from search.records.record import Record, Stopped
from search.records.study_path import StudyPath
from search.results.choose import Choice, best_swap
from search.results.recommendation import recommend
from search.results.summary import NONE
from search.study.tracking.reading import SentRun, read_study
from search.study.tracking.runs import PARTIAL


@dataclass(frozen=True)
class Study:
    """What is known of a study.

    Attributes:
        name: its name.
        lang: language code.
        family: where its checkpoints are.
        tolerance: of the recommended recipe's LCPR (`search.results.choose.best_swap`).
        trials: its trials; from MLflow their scores and recipes only.
        records: its folder; None where only MLflow is left.
        config: its whole configuration; None where only MLflow is left.
        no_recommendation: why it recommends nothing, as MLflow says; its folder is judged anew.
    """

    name: str
    lang: str
    family: Family
    tolerance: float
    trials: Sequence[Record]
    records: RecordsReader | None = None
    config: Config | None = None
    no_recommendation: str = ""


def open_study(path: StudyPath) -> Study:
    """A study from its folder or object store; a search may be running on it.

    Raises:
        StudyError: there is none, or its records cannot be read.
        ConfigError: its configuration cannot be used.
    """
    records = RecordsReader.read(path)
    head = records.head()
    config = compose.parse(head.config)
    family = Family(**config.family.model_dump())
    tolerance = config.search.tolerance
    return Study(head.name, config.lang, family, tolerance, records.trials, records, config)


def open_run(uri: str, run_id: str) -> tuple[Study, str | None]:
    """A run's study, from its folder where that can be reached, and the key of the run's trial.

    Args:
        uri: MLflow's tracking URI.
        run_id: of a trial, or of the study (the parent run), which stands for no trial: None.

    Raises:
        StudyError: MLflow has no such run, or not enough to make the study again.
    """
    runs = read_study(uri, run_id)
    asked = runs[0]
    folder = _folder(runs)
    study = open_study(folder) if folder else _from_runs(runs)
    return study, asked.tags.get("key")


def recommended(study: Study, n_layers: int) -> Choice | None:
    """What a study recommends, with what speaks against it; None if no swap has been scored."""
    if study.records is not None:
        return recommend(study.records, n_layers, study.tolerance)
    choice = best_swap(study.trials, n_layers, study.tolerance)
    return choice and replace(choice, doubt=study.no_recommendation)


def find_trial(study: Study, prefix: str) -> Record:
    """The trial whose key begins so: on search items, or else on held-out ones.

    Raises:
        StudyError: no trial's key does, or those of several.
    """
    found = {r.key for r in study.trials if r.key.startswith(prefix)}
    if not found:
        known = ", ".join(sorted({r.key for r in study.trials})[:5]) or "none yet"
        raise StudyError(f"study {study.name} has no trial {prefix}; it has {known} and so on")
    if len(found) > 1:
        raise StudyError(
            f"--trial {prefix} may be {', '.join(sorted(found)[:5])}: write more of it"
        )
    own = [r for r in study.trials if r.key in found]
    return next((r for r in reversed(own) if r.split == "search"), own[-1])


def held_out(study: Study, key: str) -> Record | None:
    """The trial of a recipe on held-out items."""
    own = (r for r in reversed(study.trials) if r.key == key and r.split == "held_out")
    return next(own, None)


def read_recipe(text: str) -> Recipe:
    """A recipe as words, such as `pair=0,1 b=3 u=1 t_b=1 t_u=1 w_lang=.5`, or a .json file.

    Words are for layer swaps: `pair` (task and language expert; `0+2,1` averages two), `b` and `u`
    are needed; `t_b`, `t_u` (0), `w_lang` (.5), `w_task` (1 - w_lang), `non_layer` and `ramp` are
    as in `search.merging.methods.swap.LayerSwap`. A file holds any recipe: the recipe.json of an
    export.

    Raises:
        RecipeError: naming every fault.
    """
    if text.endswith(".json"):
        return _from_file(Path(text).expanduser())
    faults: list[str] = []
    values: dict[str, Any] = {}
    for word in text.split():
        name, sign, value = word.partition("=")
        if not sign or name not in _READERS:
            near = did_you_mean(name, _READERS)
            faults.append(f"{word}: write NAME=VALUE; names are {', '.join(_READERS)}{near}")
        elif name in values:
            faults.append(f"{word}: {name} is given twice")
        else:
            read, what = _READERS[name]
            try:
                values[name] = read(value)
            except ValueError:
                faults.append(f"{word}: {name} must be {what}")
                values[name] = None
    missing = [name for name in ("pair", "b", "u") if name not in values]
    if missing:
        faults.append(f"{', '.join(missing)}: missing; such as pair=0,0 b=4 u=1")
    one, other = ("w_lang", "w_task") if "w_lang" in values else ("w_task", "w_lang")
    if one in values and other not in values and values[one] is not None:
        if not 0 <= values[one] <= 1:
            faults.append(f"{one}={values[one]} without {other} must lie in [0, 1]")
        values[other] = 1 - values[one]
    if faults:
        raise RecipeError(
            f"{counted(len(faults), 'fault')} in recipe {text!r}:\n  " + "\n  ".join(faults)
        )
    task, lang = values.pop("pair")
    return LayerSwap(task, lang, **{"t_b": 0, "t_u": 0, **values})


def _experts(text: str) -> int | tuple[int, ...]:
    found = tuple(map(int, text.split("+")))
    return found[0] if len(found) == 1 else found


def _pair(text: str) -> tuple[int | tuple[int, ...], int | tuple[int, ...]]:
    task, lang = text.split(",")
    return _experts(task), _experts(lang)


_COUNT = (int, "a whole number")
_WEIGHT = (float, "a number")
_READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "pair": (_pair, "two numbers of experts with a comma between, counted from 0"),
    **{name: _COUNT for name in ("b", "u", "t_b", "t_u")},
    **{name: _WEIGHT for name in ("w_lang", "w_task")},
    "non_layer": (str, "a word"),
    "ramp": (str, "a word"),
}


def _from_file(file: Path) -> Recipe:
    try:
        data = json.loads(read_whole(file).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f"recipe file {file} cannot be read: {error}") from None
    recipe = data.get("recipe", data) if isinstance(data, dict) else None
    if not isinstance(recipe, dict):
        raise RecipeError(f"{file} holds no recipe: name the recipe.json of an export")
    try:
        return from_dict(recipe)
    except RecipeError as error:
        raise RecipeError(f"{file}: {error}") from None


def _folder(runs: Sequence[SentRun]) -> Path | None:
    """The study's folder as its runs name it, if it is there and still the same study's."""
    for run in runs:
        if "items" not in run.tags:
            continue
        folder = Path(run.tags["items"]).parent.parent
        try:
            head = RecordsReader.read(folder).head()
        except SearchError:
            return None
        return folder if head.id == run.tags["study_id"] else None
    return None


def _from_runs(runs: Sequence[SentRun]) -> Study:
    """A study from what its runs say; the search's own settings are not needed for an export."""
    name = runs[0].tags["study"]
    parents = [run for run in runs if "mlflow.parentRunId" not in run.tags]
    try:
        params = parents[0].params
        lang = params["lang"]
        references = {
            path.removeprefix("family.references."): location
            for path, location in params.items()
            if path.startswith("family.references.")
        }
        family = Family(
            name=params["family.name"],
            base=params["family.base"],
            task=tuple(ast.literal_eval(params["family.task"])),
            language={lang: tuple(ast.literal_eval(params[f"family.language.{lang}"]))},
            references=references,
            allow_bin=params.get("family.allow_bin") == "True",
        )
        tolerance = float(params["search.tolerance"])
        trials = [_record(run) for run in runs if "key" in run.tags]
        tags = parents[0].tags
        why_not = tags["reason"] if tags.get("recommended") == NONE else ""
    except (LookupError, ValueError, SyntaxError, SearchError) as error:
        raise StudyError(
            f"study {name} cannot be made again from its runs ({type(error).__name__}: {error}); "
            "name its folder with --study"
        ) from None
    trials.sort(key=lambda record: record.number)
    return Study(name, lang, family, tolerance, trials, no_recommendation=why_not)


def _record(run: SentRun) -> Record:
    """The inverse of how `search.study.tracking.view` sends a record, as far as it goes."""
    tags: Any = run.tags
    first = PARTIAL if tags["state"] == "stopped" else ""
    names = [n[len(first) : -2] for n in run.metrics if n.startswith(first) and n.endswith("_n")]
    scores = {name: _score(run, first, name) for name in names}
    return Record(
        number=int(tags["number"]),
        key=tags["key"],
        split=tags["split"],
        state=tags["state"],
        origin=tags["origin"],
        label=run.name.removesuffix(" (held-out)"),
        recipe=from_dict(json.loads(tags["recipe"])),
        scores=scores,
        reason=tags.get("reason", ""),
        cause=tags.get("cause", "") if tags["state"] == "failed" else "",
        stopped=_stopped(run, max((s.n_scored for s in scores.values()), default=0))
        if first
        else None,
    )


def _stopped(run: SentRun, items: int) -> Stopped:
    estimate, chance = (run.metrics[name] / 100 for name in ("estimate", "chance"))
    return Stopped(items, items, estimate, run.tags.get("incumbent", ""), chance)


def _score(run: SentRun, first: str, name: str) -> Score:
    ends = (run.metrics.get(first + name + end) for end in ("", "_low", "_high"))
    value, low, high = (None if x is None else x / 100 for x in ends)
    count = int(run.metrics[f"{first}{name}_n"])  # of all items asked, MLflow holds no number
    return Score(value, low, high, count, count)
