import pytest

from objectives import tokens
from objectives.errors import DependencyError
from objectives.languages import LANGUAGES, language
from objectives.tokens import split_line

ZH = "今天早上我们在古老的公园里散步"
JA = "私たちは古い公園を散歩しました"


@pytest.mark.parametrize(
    ("code", "line", "expected"),
    [
        ("zh", ZH, ["今天", "早上", "我们", "在", "古老", "的", "公园", "里", "散步"]),
        ("zh", "在公园里 walked 了", ["在", "公园", "里", " ", "walked", " ", "了"]),
        ("ja", JA, ["私", "たち", "は", "古い", "公園", "を", "散歩", "し", "まし", "た"]),
        ("ja", "公園で walked です", ["公園", "で", "walked", "です"]),
        ("ko", "오래된  공원을 걸었습니다", ["오래된", "공원을", "걸었습니다"]),
        ("ar", "في\tالحديقة القديمة", ["في", "الحديقة", "القديمة"]),
        ("te", "పాత ఉద్యానవనంలో", ["పాత", "ఉద్యానవనంలో"]),
        ("th", "เดินเล่นใน park", ["เดิน", "เล่น", "ใน", "park"]),
    ],
)
def test_published_tokens(code: str, line: str, expected: list[str]) -> None:
    assert split_line(language(code), published=True)(line) == expected


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_only_chinese_and_japanese_need_a_package(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens.importlib.util, "find_spec", lambda name: None)
    commands = {"ja": "pip install fugashi unidic-lite", "zh": "pip install jieba"}
    if code in commands:
        with pytest.raises(DependencyError, match=commands[code]):
            split_line(language(code), published=True)
    else:
        assert split_line(language(code), published=True)("a b c")[-1] == "c"


@pytest.mark.parametrize("code", ["ja", "zh"])
def test_tokens_without_a_package(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens.importlib.util, "find_spec", lambda name: None)
    assert len(split_line(language(code), published=False)("今天早上hello我们散步")) == 5
