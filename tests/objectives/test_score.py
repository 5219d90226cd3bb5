import contextlib
import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives import score
from objectives.completions import read_lcb_completions
from objectives.langid import LanguageIdentifier
from objectives.rows import csv_rows
from tests.any_json import with_one_changed, written
from tests.objectives.conftest import SHARED, needs_shared
from tests.objectives.fasttext_file import write_model

OWN = Path(__file__).parent / "lcb_data"
HEAD = "task\tmodel\tsource\tlanguage\tlpr\twpr\tlcpr\tcoverage\tn"
COLUMNS = "id,model,completion,task,source,language"
TELUGU = "ఈ రోజు ఉదయం మేము పాత ఉద్యానవనంలో చాలా సేపు నడిచాము"


@pytest.mark.slow
def test_outcome_of_every_own_response() -> None:
    """The fixture's last column says what each response is for; the benchmark's rules, one each."""
    expected = [row["expected"] for _, row in csv_rows(OWN / "completions.csv", ["expected"])]
    rows = read_lcb_completions(OWN / "completions.csv")
    judged = score.judge_all(rows, LanguageIdentifier(), OWN / "words")
    assert [response.outcome.name for response in judged] == expected
    assert len(set(expected)) == 4


def test_table_of_own_responses(capsys: pytest.CaptureFixture[str]) -> None:
    assert score.main(["lcb", str(OWN / "completions.csv"), "--words", str(OWN / "words")]) == 0
    printed = capsys.readouterr().out
    assert printed == (OWN / "completions.tsv").read_text(encoding="utf-8")
    # counted by hand from the fixture's last column, averages as published
    assert "crosslingual\tmodel-a\tokapi\tru\t60.00%\t100.00%\t75.00%\t76.92%\t13\n" in printed
    assert "crosslingual\tmodel-a\tsharegpt\tfr\t100.00%\tN/A\t100.00%\t0.00%\t1\n" in printed
    assert "crosslingual\tmodel-a\tokapi\tall\t75.42%\t72.22%\t73.78%\t79.17%\t24\n" in printed
    assert "crosslingual\tmodel-a\tall\tru\t80.00%\t85.71%\t82.76%\t80.95%\t21\n" in printed
    assert "crosslingual\tmodel-a\tall\tall\t84.58%\t67.46%\t75.06%\t78.79%\t33\n" in printed
    assert "monolingual\tmodel-a\town\tte\t100.00%\t50.00%\t66.67%\t100.00%\t2\n" in printed


@pytest.mark.slow
@needs_shared
@pytest.mark.parametrize("model", ["command-r", "llama-3-instruct"])
def test_parity_with_the_published_script(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every cell of the reference files, in their order, and averages with them."""
    folder = SHARED / "lcb"
    files = [str(folder / "outputs" / f"{model}.csv"), "--words", str(folder / "words")]
    assert score.main(["lcb", *files]) == 0
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out), delimiter="\t"))
    with (folder / "reference" / f"{model}.lid176ftz.tsv").open(encoding="utf-8") as file:
        expected = list(csv.DictReader(file, delimiter="\t"))
    assert len(expected) == 104
    for row, reference in zip(found, expected, strict=True):
        assert {name: row[name] for name in reference} == reference
    assert sum(int(row["n"]) for row in found if "all" not in row.values()) == 6586


def _write(path: Path, rows: str) -> str:
    path.write_text(f"{COLUMNS}\n{rows}", encoding="utf-8")
    return str(path)


def _stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def test_standard_input_and_more_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = _write(tmp_path / "a.csv", f"0,b,{TELUGU},crosslingual,own,te\n")
    _stdin(monkeypatch, f"{COLUMNS}\r\n0,a,{TELUGU} walked,crosslingual,own,te\r\n".encode())
    assert score.main(["lcb", first, "-"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == HEAD
    assert lines[1] == "crosslingual\tb\town\tte\t100.00%\t100.00%\t100.00%\t100.00%\t1"
    assert lines[5] == "crosslingual\ta\town\tte\t100.00%\t0.00%\t0.00%\t100.00%\t1"
    assert printed.err == "English words: by the rule without a list\n"


@pytest.mark.parametrize("mark", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_break_parts_lines(
    mark: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in the published script, which opens its file with Python's universal line breaks."""
    text = f'{COLUMNS}{mark}0,a,"{TELUGU}{mark}we walked there",crosslingual,own,te{mark}'
    (tmp_path / "a.csv").write_bytes(text.encode())
    assert score.main(["lcb", str(tmp_path / "a.csv")]) == 0
    assert capsys.readouterr().out.splitlines()[1].split("\t")[5] == "100.00%"


@pytest.mark.parametrize("folder", [".", "outputs"])
def test_word_list_beside_the_completions(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "words").write_text("strolled\n", encoding="utf-8")
    (tmp_path / folder).mkdir(exist_ok=True)
    row = f"0,a,{TELUGU} walked,crosslingual,own,te\n"
    assert score.main(["lcb", _write(tmp_path / folder / "a.csv", row)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].split("\t")[5] == "100.00%"
    assert printed.err.startswith("English words: ") and printed.err.endswith("words\n")


def test_detector_by_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = {"tel_Telu": TELUGU.split(), "eng_Latn": "this is a text in English".split()}
    model = str(write_model(tmp_path / "own.bin", words))
    rows = f"0,a,{TELUGU},crosslingual,own,te\n1,a,this is a text in English,crosslingual,own,te\n"
    assert score.main(["lcb", _write(tmp_path / "a.csv", rows), "--lid", model]) == 0
    assert capsys.readouterr().out.splitlines()[1].split("\t")[4] == "50.00%"
    rows = "0,a,Habari za asubuhi,crosslingual,own,sw\n"
    assert score.main(["lcb", _write(tmp_path / "a.csv", rows), "--lid", model]) == 2
    assert "own.bin: none of its 2 labels is 'sw'" in capsys.readouterr().err


GOOD = "0,m,Oui.,crosslingual,own,fr\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.csv: the file is empty"),
        ("id,model,completion,task,source\n", "a.csv, line 1: no column language"),
        (f"{COLUMNS}\n", "a.csv: no rows under the header"),
        (f"{COLUMNS}\n{GOOD}1,m,Oui.,crosslingual,own\n", "line 3: a field too few or too many"),
        (f"{COLUMNS}\n{GOOD}1,m,Oui,oui.,crosslingual,own,fr\n", "line 3: a field too few"),
        (f"{COLUMNS}\n{GOOD}1,m,Oui.,crosslingual,own,\n", "line 3: unknown language ''"),
        (f"{COLUMNS}\n{GOOD}1,m,Oui.,crosslingual,own,xx\n", "line 3: unknown language 'xx'"),
        (f"{COLUMNS}\n{GOOD}1,m,Oui.,bilingual,own,fr\n", "line 3: task 'bilingual'"),
        (f"{COLUMNS}\n{GOOD}1,,Oui.,crosslingual,own,fr\n", "line 3: no model"),
        (f"{COLUMNS}\n{GOOD}1,m,Oui.,crosslingual, ,fr\n", "line 3: no source"),
        (f'{COLUMNS}\n0,m,"a\nb",monolingual,own,fr\nx\n', "line 4: a field too few"),
        (f'{COLUMNS}\n{GOOD}1,m,"Oui.,crosslingual,own,fr\n', "line 3: not CSV"),
        (f"{COLUMNS}\n{GOOD}1,m,\udcff,crosslingual,own,fr\n", "line 3: not UTF-8"),
    ],
)
def test_malformed_completions(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert score.main(["lcb", str(tmp_path / "a.csv")]) == 2
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1].startswith("error: ") and message in printed.err
    assert printed.out == ""


def test_missing_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score.main(["lcb", str(tmp_path / "no.csv")]) == 2
    assert "no.csv: cannot be read (No such file or directory)" in capsys.readouterr().err
    assert score.main(["mgsm", str(tmp_path / "no.jsonl")]) == 2
    assert "no.jsonl: cannot be read (No such file or directory)" in capsys.readouterr().err
    file = _write(tmp_path / "a.csv", GOOD)
    assert score.main(["lcb", file, "--words", str(tmp_path / "no")]) == 2
    assert "no: cannot be read" in capsys.readouterr().err
    assert score.main(["lcb", file, "--lid", str(tmp_path / "no.bin")]) == 2
    assert "no.bin: no such language identification model" in capsys.readouterr().err


ANSWERS = [
    ("en", 18, " 9 + 9 = 18. The answer is 18."),
    ("en", "2,125", " The answer is 2125, in total."),
    ("en", 7, " 3 + 4 = 7"),
    ("te", 9, " సమాధానం ౯."),
    ("te", 5.0, ""),
]


def _answers(rows: list[tuple[str, object, str]]) -> str:
    names = ("language", "target", "completion")
    lines = ({**dict(zip(names, row, strict=True)), "question": f"What, {row[0]}?"} for row in rows)
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def test_mgsm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(_answers(ANSWERS), encoding="utf-8")
    assert score.main(["mgsm", str(path)]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "language strict strict_low strict_high flexible flexible_low flexible_high n".split(),
        "en 66.67% 20.77% 93.85% 100.00% 43.85% 100.00% 3".split(),
        "te 50.00% 9.45% 90.55% 50.00% 9.45% 90.55% 2".split(),
        "all 60.00% 23.07% 88.24% 80.00% 37.55% 96.38% 5".split(),
    ]


def test_mgsm_errors_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _stdin(monkeypatch, _answers(ANSWERS).encode())
    assert score.main(["mgsm", "-", "--show-errors"]) == 0
    (_, *errors) = capsys.readouterr().out.split("\n\n")
    assert [error.rstrip("\n") for error in errors] == [
        "<stdin>, line 3 (en): target 7, strict none (wrong), flexible 7 (right)\n"
        "question: What, en?\ncompletion: 3 + 4 = 7",
        "<stdin>, line 5 (te): target 5, strict none (wrong), flexible none (wrong)\n"
        "question: What, te?\ncompletion: ",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n", "a.jsonl: the file is empty"),
        ("{}\n", "line 1: no field language, question, target, completion"),
        (_answers(ANSWERS[:1]) + "\n" + _answers(ANSWERS[:1]), "line 2: an empty line"),
        (_answers(ANSWERS[:1]) + "{", "line 2: not JSON"),
        ("[1]\n", "line 1: not an object: [1]"),
        (_answers([("ko", 3, "3")]), "line 1: MGSM has no Korean"),
        (_answers([("xx", 3, "3")]), "line 1: unknown language 'xx'"),
        (_answers([("en", "three", "3")]), "line 1: the target 'three' is not one number"),
        (_answers([("en", True, "3")]), "line 1: the target True is not one number"),
        (_answers([("en", None, "3")]), "line 1: the target None is not one number"),
        (_answers([("en", 3, None)]), "line 1: completion is None"),  # type: ignore[list-item]
    ],
)
def test_malformed_answers(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    assert score.main(["mgsm", str(tmp_path / "a.jsonl")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["lcb"], ["mgsm"]])
def test_help_loads_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys; from objectives.score import main\n"
        f"try: main([*{command}, '--help'])\n"
        "except SystemExit: print(sorted({'numpy', 'scipy', 'fasttext', 'csv'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.splitlines()[-1] == "[]", run.stderr
    if command == ["lcb"]:
        assert "equal to LPR where WPR is not defined" in run.stdout


ROW = {"language": "te", "question": "1 + 1?", "target": "2", "completion": " సమాధానం 2."}


@given(with_one_changed(ROW), st.binary(max_size=3))
def test_mgsm_rows_of_any_shape(
    tmp_path_factory: pytest.TempPathFactory, row: Any, mark: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.jsonl"
    file.write_bytes(mark + written(row) + b"\n" + written(ROW))
    _scored_or_refused("mgsm", str(file), "--show-errors")


@settings(max_examples=50)
@given(st.integers(0, 5), st.text(st.characters(exclude_categories=())))
def test_lcb_cells_of_any_text(
    tmp_path_factory: pytest.TempPathFactory, cell: int, text: str
) -> None:
    row = ["0", "m", TELUGU, "crosslingual", "own", "te"]
    row[cell] = text
    file = tmp_path_factory.getbasetemp() / "any.csv"
    with file.open("w", encoding="utf-8", errors="surrogatepass", newline="") as opened:
        csv.writer(opened).writerows([COLUMNS.split(","), row])
    _scored_or_refused("lcb", str(file))


def test_a_long_answer_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = f"{TELUGU} " * 4000
    assert len(long) > 131_072
    assert score.main(["lcb", _write(tmp_path / "a.csv", f"0,b,{long},crosslingual,own,te\n")]) == 0
    assert "100.00%\t100.00%\t1\n" in capsys.readouterr().out


def _scored_or_refused(*arguments: str) -> None:
    """Nothing is raised; what is refused is one line that begins with the word error."""
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()) as table, contextlib.redirect_stderr(said):
        status = score.main(arguments)
    table.getvalue().encode()
    assert status == 0 or (status == 2 and said.getvalue().splitlines()[-1].startswith("error: "))
