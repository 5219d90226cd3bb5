"""Pages, docstrings and comments say what is so: names exist, commands are taken, links lead on."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.defined import FOLDERS, ROOT, sources
from tests.names import Named, fault, files, named, wrong
from tests.page_commands import Command, check, inline, ours, shown
from tests.test_architecture import ROOMS

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHER_PAGES = [ROOT / "demo" / "README.md", ROOT / "benchmarks" / "RESULTS.md"]
SETTINGS = [
    ROOT / name for name in sorted(files()) if re.search(r"(^Makefile|\.yaml|\.toml)$", name)
]
CLUSTER = [ROOT / "ray_cluster.yaml", *sorted((ROOT / "cluster").glob("*.yaml"))]
HEADS = [*sorted((ROOT / "conf").rglob("*.yaml")), *CLUSTER]


def commands() -> Iterator[Command]:
    """Every command of ours that a page or the head of a configuration file shows."""
    for file in (*PAGES, *OTHER_PAGES, *HEADS):
        found = [*shown(file), *(inline(file) if file.suffix == ".md" else ())]
        yield from (command for line in found if (command := ours(line)))


@pytest.mark.parametrize(("page", "lines"), [("README.md", 130), ("CONTRIBUTING.md", 80)])
def test_a_page_is_short(page: str, lines: int) -> None:
    assert len((ROOT / page).read_text(encoding="utf-8").splitlines()) <= lines


@pytest.mark.parametrize("command", list(commands()), ids=str)
def test_commands_are_taken(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check(command, tmp_path)


def test_a_command_stands_in_one_place() -> None:
    places: dict[str, list[str]] = {}
    for command in (line for page in PAGES for line in shown(page)):
        where, _, words = str(command).partition(": ")
        places.setdefault(words, []).append(where)
    assert len(places) > 25
    assert {words: where for words, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("make domo", "the Makefile has no domo"),
        ("make install ACCELERATOR=cuda", "no ACCELERATOR=cuda"),
        ("python -m search.rum --lang te", "no module search.rum"),
        ("python -m search.run --long te", "does not take that"),
        ("python -m search.run --lang te search.trails=3", "search.trails"),
        ("python -m search.run --lang te space=papers", "papers"),
        ("python -m search.run --lang te --resume auto search.trails=3", "search.trails"),
        ("python -m search.sync", "does not take that"),
        ("python -m demo.build --chek", "no --chek"),
        ("python -m benchmarks.idle --engines 2", "no --engines"),  # another file's
    ],
)
def test_a_wrong_command_is_seen(words: str, message: str, tmp_path: Path) -> None:
    command = Command(ROOT / "README.md", 1, tuple(words.split()))
    with pytest.raises(Exception, match=message):
        check(command, tmp_path)


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES], ids=lambda page: page.name)
def test_names_on_pages_exist(page: Path) -> None:
    assert list(filter(None, map(fault, named(page)))) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_names_in_docstrings_and_comments_exist(folder: str) -> None:
    own = [file for file in sources() if file.is_relative_to(ROOT / folder)]
    assert own
    assert [text for file in own for name in named(file) if (text := fault(name))] == []


def test_names_in_settings_exist() -> None:
    assert len(SETTINGS) > 10
    assert [text for file in SETTINGS for name in named(file) if (text := fault(name))] == []


WRONG = [
    "search/journal.py",
    "search/studdy/",
    "journals.py",
    "docs/nothing.md",
    "search.records.recorder",
    "search.no_such_room.file",
    "search.records.store.Store.bigin",
    "search.records.record.Rekord",
    "search.records.record.Record.item",
    "search.merging.plan.Mix",  # imported there, defined elsewhere
    "choose.recommended",
    "Record.item",
    "StudySearchers",
    "search.trails",
    "search.engine.max_model_length",
    "space.w_lang.middle",
    "search.trails=3",
    "search=desktop",
    "make demos",
    "python -m search.runs --lang te",
    "nobody.knows",
]
RIGHT = [
    "search/study/proposing/journal.py",
    "journal.py",
    "docs/",
    "search/study/",
    "search.records.record",
    "search.records.record.Record.items",
    "search.study.fate.judge()",
    "fate.judge",
    "Record.items",
    "StudySearcher",
    "search.trials",
    "search.engine.max_model_len",
    "search.baselines.soup",
    "family.language.te",
    "search.trials=3",
    "search=laptop",
    "make demo",
    "python -m search.run --lang te",
    "optuna.Trial",
    "torch.compile",
    "study.yaml",
    "model.layers.3.mlp",
    "models/te-0",
    "b, u, t_b, t_u",
]


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_name_is_seen(text: str) -> None:
    assert wrong(text)


@pytest.mark.parametrize("text", RIGHT)
def test_a_right_name_is_found(text: str) -> None:
    assert wrong(text) is None


def test_a_fault_says_where_it_stands(tmp_path: Path) -> None:
    source = '"""Of `search.study`.\n\nSee `search.study.\nfates`.\n"""\n\nx = 1  # `gone.py`\n'
    page = "# Title\n\nSee `docs/map.md`\nand `docs/maps.md`.\n\n    python `nothing.py`\n"
    (tmp_path / "x.py").write_text(source)
    (tmp_path / "x.md").write_text(page)
    found = [fault(name) for file in ("x.py", "x.md") for name in named(tmp_path / file)]
    assert [text for text in found if text] == [
        "x.py:7: `gone.py` is the name of no file",
        "x.md:4: `docs/maps.md` is no file of the repository",
    ]
    bad = Named(ROOT / "search" / "check.py", 3, "search.study.fates")
    assert fault(bad) == (
        "search/check.py:3: `search.study.fates` is the name of nothing: search.study defines no "
        "fates"
    )


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES], ids=lambda page: page.name)
def test_links_lead_on(page: Path) -> None:
    for place, anchor in re.findall(
        r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text("utf-8")
    ):
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{page.name}: {place} is not there"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in slugs, f"{page.name}: {place} has no #{anchor}"


def test_every_page_is_linked_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [p.name for p in PAGES[1:] if f"({p.relative_to(ROOT)})" not in text] == []


def test_the_map_is_what_the_docstrings_say() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_map.py"))
    page = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
    assert page == made["page"](), "run: make docs"
    rooms = tuple(room.replace(".", "/") for room in ROOMS if room != "objectives")
    assert made["SEARCH"] == rooms
    own = [f for f in sources() if f.parts[len(ROOT.parts)] in ("search", "objectives")]
    names = [str(f.relative_to(ROOT)) for f in own if f.name != "__init__.py"]
    assert [name for name in names if f"| `{name}` |" not in page] == []
