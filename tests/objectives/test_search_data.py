"""Problems to search on from another file, with the whole of the first held out."""

from __future__ import annotations

from pathlib import Path

import pytest

from objectives.errors import DataError
from objectives.langid import LanguageIdentifier
from objectives.mgsm import MgsmObjective, MgsmSettings
from objectives.settings import Shared

SHARED = Shared("te", 0, LanguageIdentifier(None), None, 0.5, False, False)


def built(own: Path, other: Path, held_out: int = 6) -> MgsmObjective:
    return MgsmSettings(
        data_dir=own, search_data=other, shots=0, search_items=3, held_out_items=held_out
    ).build(SHARED)


def questions(folder: Path, words: str, number: int) -> Path:
    folder.mkdir()
    lines = [f"{words} {n}?\t{n}" for n in range(number)]
    (folder / "mgsm_te.tsv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_all_of_the_first_is_held_out(tmp_path: Path) -> None:
    own, other = (questions(tmp_path / w, w, n) for w, n in (("test", 6), ("train", 5)))
    found = built(own, other)
    assert all("train" in str(r.prompt) for r in found.requests("search"))
    assert len(found.requests("search")) == 3
    held_out = [str(r.prompt) for r in found.requests("held_out")]
    assert len(held_out) == 6 and all("test" in prompt for prompt in held_out)
    assert found.split_hash != built(own, questions(tmp_path / "c", "others", 5)).split_hash


def test_what_is_in_both_is_refused(tmp_path: Path) -> None:
    own, other = questions(tmp_path / "a", "test", 6), questions(tmp_path / "b", "test", 2)
    with pytest.raises(DataError, match=r"have 2 questions in common, such as 'test 0\?'"):
        built(own, other)


def test_too_few_are_said_with_the_file(tmp_path: Path) -> None:
    own, other = questions(tmp_path / "a", "test", 6), questions(tmp_path / "b", "train", 3)
    with pytest.raises(DataError, match=r"a/mgsm_te.tsv has 6 items; held_out_items is 7"):
        built(own, other, held_out=7)
