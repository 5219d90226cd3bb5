"""docs/config.md is what the command writes now, and says every key, range and shipped group."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.config.compose import CONF, GROUPS, load
from search.config.reference import about, markdown, rows

PAGE = Path(__file__).resolve().parents[3] / "docs" / "config.md"
ROWS = {row.key: row for row in rows()}


def test_the_page_is_what_the_command_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown(), "run: make docs"


def test_every_key_of_a_configuration_has_a_row() -> None:
    def keys(prefix: str, value: object) -> set[str]:
        inner = isinstance(value, dict) and prefix not in ("family.language.", "search.baselines.")
        found = {prefix.rstrip(".")} if prefix else set()
        if inner:
            found |= {k for name, v in value.items() for k in keys(f"{prefix}{name}.", v)}
        return found

    given = load(["objective.lm_eval.tasks=[own]", "objective.code.data_dir=x"], {"lang": "te"})
    assert keys("", given.model_dump()) == set(ROWS)


@pytest.mark.parametrize(
    ("key", "default", "allowed"),
    [
        ("lang", "to be given", "text: `^[a-z]{2,3}$`"),
        ("family.task", "to be given", "one or more of: a folder, hub id or address"),
        ("objective.lcpr.top_p", "`0.75`", "number > 0 and <= 1"),
        ("objective.lcpr.words", "`null`", "a path, or None"),
        ("space.b", "`null`", "[whole number >= 0, whole number >= 0], or None"),
        ("space.experts", "`each`", "each, averaged, both"),
        ("space.w_lang", "`{low: 0.5, high: 0.5, step: 0.1}`", "the keys below"),
        ("search.engine", "as below", "the keys below"),
        ("search.race", "as below", "None, or the keys below"),
        ("search.race.looks", "`[0.5, 0.75]`", "one or more of: number > 0 and < 1"),
        ("objective.chat_template_kwargs", "`{}`", "{a name: any value}"),
        ("search.seed", "`0`", "whole number"),
        (
            "search.baselines",
            "`{}`",
            "{of soup, task_arithmetic, ties, dare_linear, slerp: whole number >= 0}",
        ),
    ],
)
def test_rows(key: str, default: str, allowed: str) -> None:
    assert ROWS[key][1:3] == (default, allowed)


@pytest.mark.parametrize("group", GROUPS)
def test_shipped_files_say_what_they_are(group: str) -> None:
    page = markdown()
    for file in (CONF / group).glob("*.yaml"):
        assert f"- `{group}={file.stem}`" in page
        assert len(about(file)) > 20, file


def test_the_first_sentence_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("# As Smith et al. 2024 do, in two\n# lines. More.\n#  python -m x\na: 1\n")
    assert about(file) == "As Smith et al. 2024 do, in two lines."
    file.write_text("# From folders:\n# python -m search.run\n# No more.\n")
    assert about(file) == "From folders."
