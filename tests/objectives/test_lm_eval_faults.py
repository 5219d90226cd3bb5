"""What of a task cannot be built, in words for its author."""

from __future__ import annotations

import pytest

from objectives.lm_eval_faults import in_words


class UndefinedError(Exception):
    """Named as jinja2's."""


class DatasetGenerationError(Exception):
    """Named as that of datasets."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("validation"), "'validation': its data has no such split"),
        (KeyError("Unknown filter 'x'.\nAvailable: y"), "Unknown filter 'x'. Available: y"),
        (UndefinedError("'x' is undefined"), "'x' is undefined: a template names a field"),
        (StopIteration(), "StopIteration: its data has no row"),
        (RuntimeError("two\n lines"), "two lines (RuntimeError)"),
        (FileNotFoundError("Unable to find 'x'"), "Unable to find 'x': relative names are"),
    ],
)
def test_what_it_speaks_of(error: Exception, said: str) -> None:
    for fetch in (False, True):
        found = in_words(error, fetch=fetch)
        assert found.startswith(said) and "fetched" not in found


def test_the_cause_of_data_that_cannot_be_read() -> None:
    error = DatasetGenerationError("An error occurred")
    error.__cause__ = ValueError("JSON parse error in row 1")
    assert in_words(error, fetch=False) == "its data cannot be read: JSON parse error in row 1"


@pytest.mark.parametrize(
    "error",
    [ConnectionError("Couldn't reach 'x' on the Hub"), ValueError("Couldn't find cache for x")],
)
def test_fetching_is_the_remedy_only_where_it_is_one(error: Exception) -> None:
    assert "not fetched unless objective.lm_eval.fetch=true" in in_words(error, fetch=False)
    assert "fetched" not in in_words(error, fetch=True)
