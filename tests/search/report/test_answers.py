"""Items gained and lost: which they are, and what is marked in an answer."""

from __future__ import annotations

import pytest

from objectives.types import ItemResult
from search.report.answers import LONGEST, SHOWN, compared, marked
from search.report.material import Material


def test_each_rival_with_its_items(study: Material) -> None:
    found = {other.what: other for other in compared(study)}
    assert list(found) == ["default recipe", "best soup", "best expert"]
    ours = {i.id: i for i in study.records.items(study.report.lines[0].record)}
    for rival, other in zip(("default", "soup", "expert"), found.values(), strict=True):
        theirs = {i.id: i for i in study.records.items(study.report.rivals[rival])}
        gained = [n for n in ours if _right(ours[n]) and not _right(theirs[n])]
        lost = [n for n in ours if not _right(ours[n]) and _right(theirs[n])]
        assert (other.gained[1], other.lost[1]) == (len(gained), len(lost)) and len(gained) > SHOWN
        assert [pair.id for pair in other.gained[0]] == gained[:SHOWN]
        assert all(p.ours.right and not p.theirs.right for p in other.gained[0])
        assert not any(p.ours.right for p in other.lost[0])


def _right(item: ItemResult) -> bool:
    return item.objective == "mgsm" and bool(item.verdict["correct"])


@pytest.mark.parametrize(
    ("text", "read", "lang", "html"),
    [
        ("12 and 12.", "12", "te", '12 and <mark class="read">12</mark>.'),
        ("it is 1,200", "1200", "sw", 'it is <mark class="read">1,200</mark>'),
        ("మొదట first 3", "", "te", 'మొదట <mark class="confused">first</mark> 3'),
        ("Kwanza first", "", "sw", "Kwanza first"),
        ("The 3", "3", "te", 'The <mark class="read">3</mark>'),
        ("<b>3</b>", "3", "te", '&lt;b&gt;<mark class="read">3</mark>&lt;/b&gt;'),
        ("no number", "9", "sw", "no number"),
    ],
)
def test_marks(text: str, read: str, lang: str, html: str) -> None:
    assert str(marked(text, read, lang)) == html


def test_an_answer_is_cut() -> None:
    assert len(marked("క" * 10 * LONGEST, "", "te")) <= LONGEST + 2
