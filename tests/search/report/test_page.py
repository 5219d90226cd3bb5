"""report.html: one file, all its parts, nothing of it anybody's HTML; drawn by a real browser."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plotly.offline import get_plotlyjs

from objectives.types import ItemResult
from search.merging.recipe import Single, key
from search.records.items import pack_items
from search.report.material import Material
from search.report.page import page
from tests.hostile.test_shown import COMMANDS, EVIL
from tests.search.report.studies import figures_of, many
from tests.search.results.studies import BEST, L, begin, full

ALL = {"scatter", "coordinates", "landscape", "importance", "owners", "progress", "costs"}


def test_all_parts_are_there_and_plotly_once(study: Material, searched: Material) -> None:
    text = page(searched)
    assert {figure["id"] for figure in figures_of(text)} == ALL
    assert "<h2>Recommended so far: <span" in text
    assert text.count("plotly.js v") == 1 and "<script src" not in text and "<link" not in text
    assert "default-src 'none'" in text
    text = page(study)
    assert "Recommended: <span" in text and "te b2 u2 tb0 tu0 m0-l0" in text
    assert "+25.0 points of accuracy against the best soup" in text and "p&lt;0.001" in text
    assert f"python -m search.export --study {study.records.path} --out merged" in text
    assert "<li>Best expert on these items: te math expert m0." in text
    assert "gained: " in text and "python -m search.inspect --lang te" in text
    assert page(study) == text


def test_a_study_without_a_trial_and_one_that_recommends_nothing(tmp_path: Path) -> None:
    records = begin(tmp_path / "s")
    text = page(Material.of(records, running=True))
    assert "No recommendation yet</h2>" in text and "no layer swap has been scored" in text
    assert figures_of(text) == []
    assert "is running" in text


@pytest.mark.slow
def test_nothing_of_a_strangers_study_is_html(tmp_path: Path) -> None:
    records = begin(tmp_path / "s")
    full(records)
    evil = [
        ItemResult("mgsm", f"{EVIL}{i}", f"</script>{EVIL}", f"</p>{EVIL}", 3, "stop", {
            "correct": i < 150, "extracted": EVIL, "target": EVIL, "label": EVIL,
            "outcome": EVIL if i else "PASS", "first_error": EVIL,
        })
        for i in range(200)
    ]  # fmt: skip
    for place, record in enumerate(records.trials):
        wrong = [replace(i, verdict={**i.verdict, "correct": False}) for i in evil]
        is_best = record.key == key(BEST, L)
        (records.folder / record.items).write_bytes(pack_items(evil if is_best else wrong))
        records.trials[place] = replace(
            record, label=f"te </script>{EVIL}", reason=f"</td>{EVIL}", host=EVIL
        )
    name = f"</title>{EVIL}"
    head = records.head()
    family = {**head.config["family"], "base": f"</dd>{EVIL}"}
    records.rewrite(replace(head, name=name, config={**head.config, "family": family}))
    text = page(Material.of(records, running=False)).replace(get_plotlyjs(), "")
    assert "<img" not in text and not set(text) & COMMANDS
    for element in ("script", "title", "main", "style"):
        assert text.count(f"</{element}>") == (3 if element == "script" else 1), element
    assert "&lt;img src=x&gt;" in text
    for figure in figures_of(text):  # plotly reads tags in texts
        assert "<img" not in str(figure)


@pytest.mark.slow
def test_five_hundred_trials(tmp_path: Path) -> None:
    """Its time is printed and not asserted: machines differ."""
    records = many(tmp_path / "s", 500)
    began = time.perf_counter()
    text = page(Material.of(records, running=True))
    print(f"500 trials: {time.perf_counter() - began:.1f} s, {len(text.encode()) / 2**20:.2f} MiB")
    assert len(text.encode()) < 8 * 10**6
    assert "All trials" in text and text.count("</tr>") > 500


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium here: apt-get install chromium")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as running:
        found = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.mark.slow
def test_a_browser_draws_it_without_network(
    browser: Any, searched: Material, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(searched), "utf-8")
    for scheme, ink in (("light", "rgb(27, 31, 36)"), ("dark", "rgb(230, 233, 237)")):
        context = browser.new_context(color_scheme=scheme, offline=True)
        tab = context.new_page()
        said: list[str] = []
        asked: list[str] = []
        tab.on(
            "console",
            lambda told, said=said: said.append(told.text) if told.type == "error" else None,
        )
        tab.on("pageerror", lambda error, said=said: said.append(str(error)))
        tab.on("request", lambda request, asked=asked: asked.append(request.url))
        tab.goto(file.as_uri())
        tab.wait_for_function("document.documentElement.dataset.drawn", timeout=120_000)
        drawn = tab.evaluate(
            "[...document.querySelectorAll('.plot')].filter(p => p.querySelector('svg.main-svg'))"
            ".map(p => p.id)"
        )
        assert set(drawn) == ALL and said == []
        assert tab.evaluate("document.querySelectorAll('#scatter .points path').length") > 30
        assert tab.evaluate("getComputedStyle(document.body).color") == ink
        assert [url for url in asked if not re.match("file:|data:|blob:", url)] == []
        context.close()


@pytest.mark.slow
def test_the_keyboard_chooses_and_sorts_and_print_is_light(
    browser: Any, searched: Material, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(searched), "utf-8")
    context = browser.new_context(offline=True, color_scheme="dark")
    tab = context.new_page()
    tab.goto(file.as_uri())
    tab.wait_for_function("document.documentElement.dataset.drawn", timeout=120_000)
    cells = "document.getElementById('landscape').data[0].z.flat().filter(x => x !== null).length"
    before = tab.evaluate(cells)
    tab.locator("#landscape-choices select").first.select_option("m0-l0")
    tab.wait_for_function(f"{cells} < {before}")
    assert 0 < tab.evaluate(cells) < before
    tab.locator("#trials summary").focus()
    tab.keyboard.press("Enter")
    button = tab.get_by_role("button", name="accuracy")
    button.focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#trials tbody tr").first.inner_text().split("\t")[1] == searched.best.label
    tab.keyboard.press("Enter")
    first = tab.locator("#trials tbody tr").first.inner_text()
    assert searched.best.label not in first
    ink = "getComputedStyle(document.querySelector('#scatter .xtitle')).fill"
    assert tab.evaluate(ink) == "rgb(230, 233, 237)"
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")  # paper is light
    tab.wait_for_function(f"{ink} === 'rgb(27, 31, 36)'")
    context.close()


@pytest.mark.slow
def test_the_marked_recipe_is_the_recommended_one(study: Material) -> None:
    assert study.kinds[study.best.key] == "recommended"
    assert study.kinds[key(Single("base"), L)] == "base"
