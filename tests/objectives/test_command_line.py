"""An option or a choice that was mistyped is guessed at."""

from __future__ import annotations

import pytest

from objectives.command_line import Parser


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mgsm --trails 3", "unrecognized arguments: --trails 3 (did you mean --trials?)"),
        ("mgsm --trails=3", "unrecognized arguments: --trails=3 (did you mean --trials?)"),
        ("mgsm a --zzz", "unrecognized arguments: a --zzz"),
        ("mgms", "invalid choice: 'mgms' (choose from 'lcb', 'mgsm') (did you mean mgsm?)"),
        ("mgsm --trials x", "argument --trials: invalid int value: 'x'"),
    ],
)
def test_what_was_meant(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="search")
    parser.add_argument("task", choices=["lcb", "mgsm"])
    parser.add_argument("--trials", type=int)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(line.split())
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.rstrip().endswith(said), error
