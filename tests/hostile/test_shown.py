"""A stranger's study, answers and names: commands print them, and nothing of them is obeyed."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from objectives.errors import ObjectiveError
from objectives.types import Score
from search.common.errors import ConfigError
from search.config import compose
from search.export.mergekit_yaml import mergekit_yaml
from search.export.model_card import model_card
from search.merging.recipe import Single
from search.records.head import StudyHead
from search.records.items import pack_items
from search.records.reader import RecordsReader
from search.records.writer import RecordsWriter
from search.results import across
from search.study.tracking.outbox import Outbox, remember
from tests.hostile.limits import limited
from tests.search.export.test_mergekit_yaml import MODELS
from tests.search.export.test_model_card import PARTS, merge
from tests.search.merging.test_plan import names
from tests.search.records.samples import ITEM, record

EVIL = "\x1b]0;t\x07\x1b[2J[/x][red]$\\frac{$ <img src=x> ![p](http://h/p) `|\n# \x9b1m\u202e"
COMMANDS = set("\x00\x07\x08\x1b\r\x9b\u202e")


@pytest.mark.slow
def test_a_strangers_study_is_listed_and_reported(tmp_path: Path) -> None:
    config = compose.load([], {"lang": "te"}).model_dump(mode="json")
    records = RecordsWriter.create(tmp_path / "s", StudyHead("s", config, layers=8))
    score = Score(0.5, 0.4, 0.6, 60, 60)
    for key in "ab":
        scores = {"accuracy": score, "lcpr": score}
        records.append(replace(record(key, scores=scores), label=f"te {EVIL}"))
    records.append(record("c", state="failed", scores={}, reason=EVIL, label=EVIL))
    records.close()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.yaml").write_text(f"schema: {json.dumps(EVIL)}")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from rich.console import Console\n"
        "from search.records.reader import RecordsReader\n"
        "from search.results import choose, comparison, figures, tables\n"
        "from search.results.recommendation import recommend\n"
        "from search.studies import main\n"
        "assert main([sys.argv[1]]) == main([sys.argv[1], '--json']) == 0\n"
        "records = RecordsReader.read(Path(sys.argv[1]) / 's')\n"
        "choice = recommend(records, 8, 0.02)\n"
        "rows = choose.final_rows(records.trials, choice, choice.record.recipe, {}, 8)\n"
        "found = comparison.build(records, rows, choice, n_layers=8, family='f', lang='te')\n"
        "tables.write(found, Path(sys.argv[1]))\n"
        "tables.show(found, Console())\n"
        "figures.draw(records.trials, choice, choice.record.recipe, Path(sys.argv[1]),\n"
        "    family='f', lang='te', n_layers=8)\n"
    )
    run = limited("-c", code, str(tmp_path))
    assert run.returncode == 0, run.stderr[-2000:]
    assert not set(run.stdout + run.stderr) & COMMANDS and "[/x][red]" in run.stdout
    report = (tmp_path / "report.md").read_text("utf-8")
    assert "<img" not in report and "](http" not in report and not set(report) & COMMANDS
    assert (tmp_path / "pareto.png").is_file()


@pytest.mark.slow
def test_answers_that_are_scored(tmp_path: Path) -> None:
    file = tmp_path / "answers.csv"
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["model", "completion", "task", "source", "language"])
        rows.writerow([EVIL, EVIL, "monolingual", EVIL, "fr"])
    wrong = tmp_path / "wrong.jsonl"
    line = {"language": "te", "question": EVIL, "target": "3", "completion": EVIL}
    wrong.write_text(json.dumps(line) + "\n")
    for arguments in (["lcb", str(file)], ["mgsm", str(wrong), "--show-errors"]):
        run = limited("-m", "objectives.score", *arguments)
        assert run.returncode in (0, 2), run.stderr[-2000:]
        assert not set(run.stdout + run.stderr) & COMMANDS


@pytest.mark.parametrize("key", ["language", "references"])
@pytest.mark.parametrize("name", ["[/x]", "a\nb", "\x1b[2J", "../x", "", "a b"])
def test_keys_that_become_names(key: str, name: str, tmp_path: Path) -> None:
    family = {"name": "n", "base": "b", "task": ["t"], "language": {"te": ["l"]}}
    family[key] = {**({"te": ["l"]} if key == "language" else {}), name: "x"}
    (tmp_path / "f.yaml").write_text(yaml.safe_dump(family))
    with pytest.raises(ConfigError, match=rf"family\.{key}") as error:
        compose.load([f"family={tmp_path / 'f.yaml'}"], {"lang": "te"})
    assert not set(str(error.value)) & COMMANDS


def test_nothing_breaks_out_of_a_comment_or_a_card() -> None:
    source = "reference/x\nmerge_method: evil #"
    text = mergekit_yaml(Single(source), {**MODELS, source: "org/x"}, names(4), 4, "BF16")
    assert yaml.safe_load(text)["merge_method"] == "passthrough"
    card = model_card(
        merge(
            parts=[PARTS[0], replace(PARTS[1], model=EVIL, licence=EVIL)], reason=EVIL, doubt=EVIL
        )
    )
    assert "<img" not in card and "](http" not in card and not set(card) & COMMANDS
    assert not [line for line in card.splitlines() if line.startswith("# ") and "1m" in line]


def test_errors_of_both_packages() -> None:
    for kind in (ConfigError, ObjectiveError):
        assert not set(str(kind(EVIL))) & COMMANDS and "\\x1b[2J" in str(kind(EVIL))


def test_halves_of_surrogate_pairs_of_others_are_text(tmp_path: Path) -> None:
    """JSON and YAML can spell them, and no file, page or server takes them."""
    study = tmp_path / "s"
    records = RecordsWriter.create(study, StudyHead("s", {"lang": "HALF"}))
    records.append(record("a", label="HALF", host="HALF"), pack_items([replace(ITEM, id="HALF")]))
    records.close()
    head, lines = study / "study.yaml", study / "trials.jsonl"
    head.write_text(head.read_text().replace("HALF", '"\\uD800"'))
    lines.write_text(lines.read_text().replace("HALF", "\\ud800"))
    (answers,) = (study / "items").iterdir()
    answers.write_bytes(
        gzip.compress(gzip.decompress(answers.read_bytes()).replace(b"HALF", b"\\ud800"))
    )
    remember(study, "http://h")
    (study / "mlflow.json").write_text('{"tags": {"\\ud800": "\\ud800"}}')
    found = RecordsReader.read(study)
    (trial,) = found.trials
    (item,) = found.items(trial)
    sent = Outbox("sqlite:///x.db", "e", found.head(), {}, study, remember=False)._study
    assert [trial.label, trial.host, item.id, sent.params["lang"], *sent.tags] == ["\\ud800"] * 5
    across.write([across.Row("te", found.head().config["lang"], "finished")], tmp_path)
