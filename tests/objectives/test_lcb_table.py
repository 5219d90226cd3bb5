import pytest

from objectives.lcb_table import HEAD, JudgedResponse, from_verdicts, make_table, write_table
from objectives.rates import Outcome
from objectives.types import Completion
from tests.objectives.conftest import lcpr

U, L, W, P = Outcome.UNSCORED, Outcome.LINE_ERROR, Outcome.WORD_ERROR, Outcome.PASS
TELUGU = "ఈ రోజు ఉదయం మేము పాత ఉద్యానవనంలో చాలా సేపు నడిచాము"


def responses(
    cells: dict[tuple[str, str], list[Outcome]], task: str = "crosslingual", model: str = "m"
) -> list[JudgedResponse]:
    return [
        JudgedResponse(task, model, source, code, outcome)
        for (source, code), outcomes in cells.items()
        for outcome in outcomes
    ]


CELLS = {
    ("okapi", "ru"): [P, W, L, L],
    ("own", "fr"): [P, P, L],
    ("okapi", "fr"): [P],
    ("okapi", "de"): [U, U],
    ("own", "ru"): [L],
}


def test_rows_order_and_averages() -> None:
    rows = make_table(responses(CELLS))
    found = [(r.source, r.language, r.lpr, r.wpr, r.lcpr, r.coverage, r.n) for r in rows]
    approx = pytest.approx
    assert found == [
        ("okapi", "de", 1.0, None, 1.0, 0.0, 2),  # as published: nothing scored, no error
        ("okapi", "fr", 1.0, None, 1.0, 1.0, 1),
        ("okapi", "ru", 0.5, 0.5, 0.5, 1.0, 4),
        ("own", "fr", approx(2 / 3), None, approx(2 / 3), 1.0, 3),
        ("own", "ru", 0.0, 1.0, 0.0, 1.0, 1),  # as published: no line passes, no word error
        ("okapi", "all", approx(5 / 6), 0.5, approx(0.625), 5 / 7, 7),
        ("own", "all", approx(1 / 3), 1.0, approx(0.5), 1.0, 4),
        ("all", "de", 1.0, None, 1.0, 0.0, 2),
        ("all", "fr", approx(5 / 6), None, approx(5 / 6), 1.0, 4),
        ("all", "ru", 0.25, 0.75, 0.375, 1.0, 5),
        # the mean over languages, not over sources or responses
        ("all", "all", approx((1 + 5 / 6 + 1 / 4) / 3), 0.75, approx(0.7211538), 9 / 11, 11),
    ]  # fmt: skip


def test_languages_of_the_means_come_as_in_the_cells() -> None:
    cells = {("b", "ar"): [P], ("a", "fr"): [P], ("a", "de"): [P], ("b", "de"): [P]}
    rows = make_table(responses(cells))
    assert [r.language for r in rows if r.source == "all"] == ["de", "fr", "ar", "all"]


def test_models_and_tasks() -> None:
    cell = {("s", "fr"): [P]}
    mixed = responses(cell, "monolingual", "z") + responses(cell, "crosslingual", "a")
    mixed += responses(cell, "crosslingual", "z")
    found = [(r.model, r.task) for r in make_table(mixed)]
    assert list(dict.fromkeys(found)) == [
        ("z", "crosslingual"), ("z", "monolingual"), ("a", "crosslingual"),
    ]  # fmt: skip
    assert len(found) == 3 * 4


def test_only_word_errors_give_zero() -> None:
    (row, *_) = make_table(responses({("s", "ru"): [W, W]}))
    assert (row.lpr, row.wpr, row.lcpr) == (1.0, 0.0, 0.0)
    (row, *_) = make_table(responses({("s", "te"): [L, W]}))
    assert (row.lpr, row.wpr, row.lcpr) == (0.5, 0.0, 0.0)


def test_cells_are_written_as_published() -> None:
    lines = write_table(make_table(responses({("s", "fr"): [P, P, L], ("s", "ru"): [P]})))
    assert lines.splitlines()[:3] == [
        "\t".join(HEAD),
        "crosslingual\tm\ts\tfr\t66.67%\tN/A\t66.67%\t100.00%\t3",
        "crosslingual\tm\ts\tru\t100.00%\t100.00%\t100.00%\t100.00%\t1",
    ]
    assert lines.endswith("\n") and write_table([]) == "\t".join(HEAD) + "\n"


def test_table_of_a_live_evaluation() -> None:
    texts = [TELUGU, TELUGU, "Yes", f"{TELUGU} walked", TELUGU, TELUGU]
    found = lcpr().score("held_out", [Completion(text, 9, "stop") for text in texts])
    rows = make_table(from_verdicts([i.verdict for i in found.items], "a merge", "te"))
    assert {(r.task, r.model) for r in rows} == {("crosslingual", "a merge")}
    by_key = {(r.source, r.language): r for r in rows}
    assert set(by_key) == {
        ("garden", "te"), ("kitchen", "te"), ("garden", "all"), ("kitchen", "all"),
        ("all", "te"), ("all", "all"),
    }  # fmt: skip
    for name in ("lpr", "wpr", "lcpr", "coverage"):
        assert getattr(by_key["all", "te"], name) == pytest.approx(found.scores[name].value)
