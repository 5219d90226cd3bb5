"""Hand out a merge as a Hugging Face checkpoint: a study's winner, any trial, or any recipe.

Command line only: finds what is meant, checks everything before weights are read, writes, and on
request has a fresh engine answer from the export. `--help` stays fast because the parts are
imported when they are needed.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from objectives.command_line import Parser
from objectives.errors import ObjectiveError
from objectives.words import counted, scaled
from search.common.errors import ConfigError, EngineError, RecipeError, SearchError, StudyError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from objectives.types import Request
    from search.checkpoints.family import Family, Location
    from search.export.model_card import Ingredient, Merge
    from search.export.selection import Study
    from search.export.verify import Question
    from search.merging.plan import Plan
    from search.merging.recipe import Recipe
    from search.records.record import Record
    from search.results.choose import Choice

    _Asked = tuple[list[Question], list[list[Request]]]

EXAMPLES = """examples:
  python -m search.export --study runs/demo-te --out merged             the recommended recipe
  python -m search.export --study runs/demo-te --trial 1f09 --out merged --verify
  python -m search.export --run RUN_ID --tracking-uri http://mlflow:5000 --out merged
  python -m search.export --family my.yaml --lang te --out merged \\
      --recipe 'pair=0,1 b=3 u=1 t_b=1 t_u=1 w_lang=.5'
  python -m search.export --family merged/family.yaml --lang te \\
      --recipe merged/recipe.json --out again                           an export once more
  python -m search.export --out merged --push ORG/NAME --dry-run        what would be uploaded
  python -m search.export --out merged --push ORG/NAME                  to the hub, private
  python -m search.export --study runs/demo-te --out merged --register te-math    to MLflow as well

exit status: 0 it is written (and answers as recorded) and handed on, 1 --verify found other
answers, 2 bad input or the hub or MLflow refuses; what was written before stays
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="python -m search.export",
        description="Write a merged model as a Hugging Face checkpoint.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = p.add_mutually_exclusive_group()
    what.add_argument("--study", help="a study's folder, <out>/<study>, or s3://... and such")
    what.add_argument("--run", metavar="RUN_ID", help="an MLflow run: a trial's, or a study's")
    what.add_argument("--family", help="a family by name or YAML file; with --lang and --recipe")
    p.add_argument("--trial", metavar="KEY", help="the trial whose key begins so")
    p.add_argument(
        "--recommended", action="store_true", help="the study's recommended recipe (the default)"
    )
    p.add_argument(
        "--tracking-uri",
        help="of --run and --register (MLFLOW_TRACKING_URI, or mlflow.db beside the study)",
    )
    p.add_argument(
        "--trust-addresses",
        action="store_true",
        help="fetch models from hosts that only the study of --study or --run names",
    )
    p.add_argument("--lang", help="language code of the language experts of --family")
    p.add_argument("--recipe", help="of --family: 'pair=0,1 b=3 u=1 ...', or a recipe.json")
    p.add_argument(
        "--out", type=Path, required=True, help="folder to make; of --push and --register"
    )
    p.add_argument(
        "--force",
        action="store_true",
        help="replace an earlier export; write the best recipe even if none is recommended",
    )
    p.add_argument(
        "--verify",
        type=int,
        nargs="?",
        const=20,
        metavar="N",
        help="have a fresh engine answer N (20) of the trial's items and compare",
    )
    p.add_argument(
        "--push",
        metavar="ORG/NAME",
        help="upload --out to the Hugging Face hub, private; without --study, --run and --family "
        "an export that is there",
    )
    p.add_argument("--public", action="store_true", help="of --push: everybody may see it")
    p.add_argument(
        "--dry-run",
        action="store_true",
        help="of --push: list the files of the export that is there",
    )
    p.add_argument(
        "--register", metavar="NAME", help="make --out a version of this model in MLflow's registry"
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Export.

    Returns:
        0; 1 when the export answers otherwise than recorded or no engine starts on it; 2 for bad
        input, or where the hub or MLflow refuses; 130 after Ctrl-C.
    """
    arguments = parser().parse_args(argv)
    try:
        return _main(arguments)
    except (SearchError, ObjectiveError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, EngineError) else 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


@dataclass(frozen=True)
class _Wanted:
    """A recipe of a family, and the study that scored it, if one did."""

    family: Family
    lang: str
    recipe: Recipe
    study: Study | None = None
    choice: Choice | None = None
    trial: Record | None = None

    @property
    def key(self) -> str:
        return self.trial.key if self.trial else ""


def _main(arguments: argparse.Namespace) -> int:
    _check(arguments)
    from search.common.terminal import Terminal

    console = Terminal()
    _check_where_to(arguments)
    status = _export(arguments, console) if _is_new(arguments) else 0
    if status == 0 and (arguments.push or arguments.register):
        _hand_on(arguments, console)
    return status


def _check_where_to(arguments: argparse.Namespace) -> None:
    """Whether the hub and MLflow may be asked: before weights are written."""
    if arguments.push:
        from search.export.push import check_login, check_name

        check_name(arguments.push)
        if not arguments.dry_run:
            check_login()
    if arguments.register:
        from search.study.tracking.store import check_store

        check_store(_tracking_uri(arguments))


def _is_new(arguments: argparse.Namespace) -> bool:
    """Whether something is to be exported, or one that is there is handed on."""
    return not (arguments.study is arguments.run is arguments.family is None)


def _hand_on(arguments: argparse.Namespace, console: Console) -> None:
    """Upload the export, or list what would be; register it in MLflow."""
    from search.export import push

    out: Path = arguments.out
    sizes, url = push.files_of(out), ""
    if arguments.push and (places := push.places_in(out)):
        _say(console, f"note: folders of this machine are named in {', '.join(places)}")
    if arguments.dry_run:
        for name, size in sizes.items():
            _say(console, f"{size:>15,}  {name}")
        who = "public" if arguments.public else "private"
        total = sum(sizes.values())
        _say(
            console,
            f"{total:>15,}  bytes in {counted(len(sizes), 'file')}, for {arguments.push} ({who})",
        )
        return
    if arguments.push:
        pushed = push.push(out, arguments.push, public=arguments.public)
        url = pushed.url
        _say(console, f"uploaded: {url} ({'private' if pushed.private else 'public'})")
    if arguments.register:
        from search.common.masking import masked
        from search.study.tracking.registry import register

        uri, name = _tracking_uri(arguments), arguments.register
        version = register(uri, push.version_of(out, name, url))
        _say(console, f"registered: {name}, version {version}, in MLflow at {masked(uri)}")


def _tracking_uri(arguments: argparse.Namespace) -> str:
    """MLflow's address: as given, else the store beside the study."""
    import os

    from search.study.tracking.runs import default_uri

    given = arguments.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    beside = Path(arguments.study).absolute().parent if arguments.study else Path("runs")
    return given or default_uri(beside)


def _export(arguments: argparse.Namespace, console: Console) -> int:
    from search.checkpoints.family import examine
    from search.checkpoints.towers import is_multimodal
    from search.config.trust import refuse_code, refuse_foreign_models
    from search.export.notes import bytes_to_hash, for_mergekit, notes, parts_of, used
    from search.export.writer import check_target, write_export
    from search.merging.plan import plan

    wanted = _wanted(arguments)
    if wanted.study and not arguments.trust_addresses:
        places = wanted.family.all_sources().values()
        refuse_foreign_models(places, f"study {wanted.study.name}")
        if arguments.verify and wanted.study.config is not None:
            refuse_code(wanted.study.config, f"study {wanted.study.name}")
    asked = _questions(wanted, arguments.verify) if arguments.verify else None
    locations, allow_bin = wanted.family.sources(wanted.lang), wanted.family.allow_bin
    base = examine({"base": locations["base"]}, allow_bin=allow_bin)
    base.raise_faults()
    names, n_layers = base.opened["base"].tensors, base.opened["base"].n_layers
    _refuse_misfit(wanted.recipe, locations, n_layers)
    merged = plan(wanted.recipe, names, n_layers)
    needed = {"base"} | used(merged)
    examined = examine({n: at for n, at in locations.items() if n in needed}, allow_bin=allow_bin)
    examined.raise_faults()
    target = {"out": arguments.out, "force": arguments.force}
    check_target(merged, examined.opened, examined.opened["base"], **target)
    family = examined.fit(check_finite=False)  # what is written is looked at instead
    merged = family.plan(wanted.recipe)
    with _progress(console) as progress:
        hashing = progress.add_task("hashing", total=bytes_to_hash(family, merged))
        writing = progress.add_task(f"writing {arguments.out}", total=family.base.bytes)
        parts = parts_of(family, merged, lambda size: progress.advance(hashing, size))
        remarks = [f"{source} {note}" for source, own in family.notes.items() for note in own]
        name = arguments.out.absolute().name
        merge = replace(
            _merge(wanted, merged, n_layers, parts, name),
            remarks=remarks,
            multimodal=is_multimodal(family.base.config),
            mergekit=for_mergekit(family, merged),
        )
        write_export(
            merged,
            family.sources,
            family.base,
            notes=notes(merge, wanted.family, family),
            advance=lambda size: progress.advance(writing, size),
            **target,
        )
    if merge.doubt:
        _say(console, f"no recommendation: {merge.doubt}")
    _say(console, f"written: {arguments.out}, {scaled(family.base.bytes)} of weights")
    _say(console, f"load it, serve it: {arguments.out}/README.md")
    return _verify(wanted, asked, arguments.out, console) if asked else 0


def _check(arguments: argparse.Namespace) -> None:
    faults = []
    new = _is_new(arguments)
    given = {"--push": arguments.push, "--register": arguments.register}
    faults += [f"{flag} is empty: name where to" for flag, name in given.items() if name == ""]
    if not new and not any(given.values()) and not faults:
        faults.append("one of --study, --run, --family says what to export")
    if arguments.dry_run and (new or not arguments.push or arguments.register):
        faults.append(
            "--dry-run lists what --push would upload of an export that is there: give "
            "--out and --push alone"
        )
    if arguments.register:
        from search.study.tracking.runs import is_server

        if not arguments.push and is_server(_tracking_uri(arguments)):
            faults.append("--register at a server needs --push: it takes no folder of this machine")
        if not re.fullmatch(r"[\w.+ =-]{1,250}", arguments.register):
            faults.append(f"--register {arguments.register}: MLflow takes no such name")
    if arguments.public and not arguments.push:
        faults.append("--public is of --push")
    if not new:
        flags = ("--trial", "--recommended", "--verify", "--lang", "--recipe", "--force")
        faults += [f"{flag} is of a new export" for flag in flags if getattr(arguments, flag[2:])]
    elif arguments.family is not None:
        faults += [
            f"--family needs {flag}"
            for flag, value in (("--lang", arguments.lang), ("--recipe", arguments.recipe))
            if value is None
        ]
        faults += [
            f"{flag} is of a study's trials: use --study or --run, not --family"
            for flag in ("--trial", "--recommended", "--verify")
            if getattr(arguments, flag[2:])
        ]
    else:
        faults += [
            f"{flag} belongs to --family; a study's trial has its own"
            for flag, value in (("--lang", arguments.lang), ("--recipe", arguments.recipe))
            if value is not None
        ]
    if arguments.trial is not None and arguments.recommended:
        faults.append("--trial and --recommended exclude each other: give one")
    if arguments.verify is not None and arguments.verify < 1:
        faults.append(f"--verify {arguments.verify}: at least one item is needed")
    if faults:
        raise ConfigError(
            "\n  ".join([f"{counted(len(faults), 'fault')} on the command line:", *faults])
        )


def _wanted(arguments: argparse.Namespace) -> _Wanted:
    import os

    from search.checkpoints.family import Family, examine
    from search.config import compose
    from search.export import selection
    from search.records.study_path import locate
    from search.study.tracking.runs import default_uri

    if arguments.family is not None:
        recipe = selection.read_recipe(arguments.recipe)
        chosen = compose.load([f"family={arguments.family}"], {"lang": arguments.lang})
        return _Wanted(Family(**chosen.family.model_dump()), chosen.lang, recipe)
    key = arguments.trial
    if arguments.study is not None:
        study = selection.open_study(locate(arguments.study))
    else:
        uri = arguments.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        study, own = selection.open_run(uri or default_uri(Path("runs")), arguments.run)
        key = own if key is None and not arguments.recommended else key
    trial = None if key is None else selection.find_trial(study, key)
    base = examine({"base": study.family.base}, allow_bin=study.family.allow_bin)
    base.raise_faults()
    choice = selection.recommended(study, base.opened["base"].n_layers)
    if trial is None:
        trial = _recommended(study, choice, arguments.force)
    return _Wanted(study.family, study.lang, trial.recipe, study, choice, trial)


def _recommended(study: Study, choice: Choice | None, force: bool) -> Record:
    if choice is None:
        raise StudyError(
            f"study {study.name} has no recommended recipe, because it has scored no layer swap "
            "yet; name another trial with --trial KEY"
        )
    if choice.doubt and not force:
        raise StudyError(
            f"study {study.name} has no recommendation: {choice.doubt} Add --force to write "
            f"{choice.record.label} all the same, or name a trial with --trial KEY"
        )
    return choice.record


def _refuse_misfit(recipe: Recipe, locations: Mapping[str, Location], n_layers: int) -> None:
    """Raise everything about a recipe that does not fit the family, as one error."""
    from search.merging.recipe import sources_of, validate

    faults = [
        f"there is no {source}: the family has {', '.join(locations)}"
        for source in sources_of(recipe)
        if source not in locations
    ]
    try:
        validate(recipe, n_layers)
    except RecipeError as error:
        faults.append(str(error))
    except TypeError as error:
        faults.append(f"{recipe}: {error}")
    if faults:
        raise RecipeError("the recipe does not fit the model:\n  " + "\n  ".join(faults))


def _merge(
    wanted: _Wanted, merged: Plan, n_layers: int, parts: Sequence[Ingredient], name: str
) -> Merge:
    """What the model card tells."""
    from search.export import selection
    from search.export.model_card import Merge
    from search.results import choose

    study, choice, trial = wanted.study, wanted.choice, wanted.trial
    chosen = choice if choice is not None and choice.record.key == wanted.key else None
    return Merge(
        name=name,
        family=wanted.family.name,
        lang=wanted.lang,
        recipe=wanted.recipe,
        n_layers=n_layers,
        plan=merged,
        parts=parts,
        study=study.name if study else "",
        reason=chosen.reason if chosen else "",
        doubt=chosen.doubt if chosen else "",
        searched=len(choose.scored(study.trials)) if study else 0,
        search=trial if trial and trial.split == "search" else None,
        held_out=selection.held_out(study, wanted.key) if study else None,
    )


def _questions(wanted: _Wanted, count: int) -> _Asked:
    """What is compared, and what the trial's engine was asked with it."""
    from objectives.errors import ObjectiveError
    from search.export import selection
    from search.export.verify import batches, greedy, questions, requests

    study, trial = wanted.study, wanted.trial
    assert study is not None and trial is not None
    if study.records is None or study.config is None:
        raise StudyError(
            f"--verify needs the answers in the folder of study {study.name}, which is not where "
            "its runs say: name it with --study"
        )
    for record in (trial, selection.held_out(study, trial.key)):
        if record is None:
            continue
        try:
            together = requests(study.config, record)
        except ObjectiveError as error:
            raise StudyError(f"--verify asks what the study asked: {error}") from None
        if asked := questions(study.records.items(record), known := greedy(together), count):
            return asked, batches(study.config, record, together)
    raise StudyError(
        f"--verify: trial {trial.key} ({trial.state}) has no answer on record that was made "
        f"greedily to a prompt of {', '.join(known)}; such are what is asked again"
    )


def _verify(wanted: _Wanted, asked: _Asked, out: Path, console: Console) -> int:
    from search.export.verify import answer_differences, engine_options

    assert wanted.study is not None and wanted.study.config is not None
    settings, (compared, together) = wanted.study.config, asked
    n = len(compared)
    _say(console, f"verifying: a fresh engine answers {counted(n, 'item')} of {wanted.key}")
    found = answer_differences(out, compared, together, engine_options(settings))
    for line in found:
        _say(console, line)
    _say(console, f"verified: {n - len(found)} of {n} answers equal the trial's")
    if found:
        _say(
            console,
            "one may part where two tokens are nearly as likely: sums depend on the machine, its "
            "threads and what is asked together",
        )
    return 1 if found else 0


def _progress(console: Console) -> Progress:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    told = TextColumn("{task.description}", markup=False)
    columns = told, BarColumn(), DownloadColumn(), Remaining()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _say(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(main())
