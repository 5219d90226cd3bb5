from pathlib import Path

import pytest

from objectives.errors import DataError, SettingError
from objectives.fewshot import Example, Examples

TWO = (Example("Name a river.", "Ravi"), Example("Why?\nSay it.", "Darum."))
CSV = 'prompt,completion,note\nName a river.,Ravi,x\n"Why?\nSay it."," Darum.",y\n'
JSONL = (
    '{"prompt": "Name a river.", "completion": "Ravi"}\n'
    '{"prompt": "Why?\\nSay it.", "completion": "Darum."}\n'
)


@pytest.mark.parametrize(("name", "text"), [("e.csv", CSV), ("e.jsonl", JSONL)])
def test_files(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    found = Examples.read(path, ["another prompt"])
    assert found.rows == TWO
    assert [found.first(shots) for shots in (0, 1, 2)] == [(), TWO[:1], TWO]
    with pytest.raises(DataError, match=rf"{name}: 2 examples, shots 3 are asked for"):
        found.first(3)


@pytest.mark.parametrize("shots", [-1, 6])
def test_number_of_shots(shots: int) -> None:
    with pytest.raises(SettingError, match=f"shots is {shots}: 0 to 5"):
        Examples().first(shots)
    assert Examples().first(0) == ()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("e.csv", "", r"e\.csv: the file is empty"),
        ("e.csv", "prompt,answer\na,b\n", "line 1: no column completion"),
        ("e.csv", "prompt,completion\na,b\nc\n", "line 3: a field too few or too many"),
        ("e.csv", "prompt,completion\na,\n", "line 2: an empty text"),
        ("e.csv", 'prompt,completion\na,"b\n', "line 2: not CSV"),
        ("e.csv", "prompt,completion\na,b\n Is it? ,b\n", "line 3: the example 'Is it.' is among"),
        ("e.jsonl", '{"prompt": "a", "completion": "b"}\n\n{}\n', "line 2: an empty line"),
        ("e.jsonl", '{"prompt": "a", "completion": "b"}\n[]\n', r"line 2: not an object: \[\]"),
        ("e.jsonl", '{"prompt": "a"}\n', "line 1: no field completion"),
        ("e.jsonl", '{"prompt": "a", "completion": 3}\n', "line 1: an empty text, or no text"),
        ("e.jsonl", '{"prompt": "a"\n', "line 1: not JSON"),
    ],
)
def test_malformed_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        Examples.read(path, ["Is it?"])
