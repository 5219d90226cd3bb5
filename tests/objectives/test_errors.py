"""Errors of the objectives survive the way between processes."""

from __future__ import annotations

import pickle

import pytest

from objectives import errors

KINDS = (errors.DataError, errors.LanguageError, errors.SettingError, errors.DependencyError)


@pytest.mark.parametrize("kind", KINDS)
def test_pickled_and_back(kind: type[errors.ObjectiveError]) -> None:
    again = pickle.loads(pickle.dumps(kind("what is wrong. what to do")))
    assert type(again) is kind and str(again) == "what is wrong. what to do"
    assert isinstance(again, errors.ObjectiveError)


def test_a_place_in_a_file() -> None:
    assert str(errors.DataError.at("f.csv", "no a", "Add it", 3)) == "f.csv, line 3: no a. Add it"
    assert str(errors.DataError.at("f.csv", "empty", "Fill it")) == "f.csv: empty. Fill it"
