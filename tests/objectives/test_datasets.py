"""The files and data sets of MGSM and what is wrong with them; LCB's are in test_lcpr."""

import contextlib
import importlib.util
import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from objectives import apart
from objectives.datasets import Exemplar, MgsmSource, read_exemplars, read_mgsm
from objectives.errors import DataError, DependencyError, LanguageError
from objectives.languages import MGSM_CODES, language
from tests.any_json import with_one_changed, written
from tests.objectives.conftest import DATA, SHARED, mgsm, needs_shared

needs_datasets = pytest.mark.skipif(
    importlib.util.find_spec("datasets") is None, reason="the package datasets is not installed"
)
OURS = MgsmSource(DATA / "mgsm")
TELUGU_SHOTS = read_exemplars(OURS, language("te"), 2)


def table() -> dict:
    return json.loads((DATA / "mgsm" / "exemplars.json").read_text(encoding="utf-8"))["exemplars"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {},
            r"MGSM: no data is named\. Name a folder of MGSM's files \(published: google-research",
        ),
        ({}, r"or a data set of the Hugging Face hub \(juletxara/mgsm\)"),
        ({"data_dir": DATA, "dataset": "juletxara/mgsm"}, "MGSM: a folder and a data set"),
    ],
)
def test_a_source_is_a_folder_or_a_data_set(given: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        MgsmSource(**given)


def test_questions_of_a_folder() -> None:
    items, where = read_mgsm(OURS, language("te"))
    assert where == str(DATA / "mgsm" / "mgsm_te.tsv")
    assert [item.id for item in items] == [f"mgsm_te:{line}" for line in range(1, 11)]
    assert [int(item.target) for item in items] == [7, 7, 2125, 18, 25, 3, 44, 17, 8, 100]


def test_a_source_pickles() -> None:
    assert pickle.loads(pickle.dumps(OURS)) == OURS


@needs_shared
@pytest.mark.parametrize("code", MGSM_CODES)
def test_published_files(code: str) -> None:
    source = MgsmSource(SHARED / "mgsm")
    items, _ = read_mgsm(source, language(code))
    assert len(items) == 250
    assert max(item.target for item in items) == 276000  # written "276,000"
    assert len(read_exemplars(source, language(code), 8)) == 8


def test_files_in_the_layout_of_mgsm_rev2(tmp_path: Path) -> None:
    """The same TSV, a list of what was replaced, and no exemplars: these are url-nlp's."""
    (tmp_path / "mgsm_te.tsv").write_text("1 + 1?\t2\r\n2,000 + 5?\t2,005\r\n", encoding="utf-8")
    (tmp_path / "replaced_questions.json").write_text('{"te": [1]}', encoding="utf-8")
    source = MgsmSource(tmp_path)
    assert [int(item.target) for item in read_mgsm(source, language("te"))[0]] == [2, 2005]
    assert read_exemplars(source, language("te"), 0) == []
    with pytest.raises(
        DataError, match=r"no exemplars\.py and no exemplars\.json\. Copy exemplars"
    ):
        read_exemplars(source, language("te"), 2)
    text = f"NUMBERS = [6, 5]\n\nMGSM_EXEMPLARS = {ascii(table())}\n"
    (tmp_path / "exemplars.py").write_text(text, encoding="utf-8")
    assert read_exemplars(source, language("te"), 2) == TELUGU_SHOTS


def test_exemplars_lose_their_words_and_keep_their_order(tmp_path: Path) -> None:
    ten = {f"{n}": {"q": f"问题：{n}？", "a": f"逐步解答：{n}。"} for n in (10, 9, 2)}
    (tmp_path / "exemplars.json").write_text(json.dumps({"exemplars": {"zh": ten}}))
    found = read_exemplars(MgsmSource(tmp_path), language("zh"), 3)
    assert found == [Exemplar(f"{n}？", f"{n}。") for n in (2, 9, 10)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"mgsm_te\.tsv: the file is empty\. Name a folder of MGSM's files"),
        (b"q 1\t1\nq 2 2\n", r"mgsm_te\.tsv, line 2: expected 2 fields, found 1\. Each line is"),
        (b"q 1\t1\tx\n", r"mgsm_te\.tsv, line 1: expected 2 fields, found 3\. Each line is"),
        (b"q 1\t1\n\nq 2\t2\n", "line 2: expected 2 fields, found an empty line"),
        (b"q 1\t1\nq 2\tten\n", "line 2: the answer 'ten' is not one number"),
        (b"q 1\t1\nq 2\t12 cups\n", "line 2: the answer '12 cups' is not one number"),
        (b"q 1\t1\nq 2\t\n", "line 2: the answer '' is not one number"),
        (b"q 1\t1\n \t2\n", "line 2: expected 2 fields, found 2"),
        (b"q 1\t1\nq 2\t2\nq 1\t1\n", "line 3: the question of line 1 again"),
        (b"q 1\t1\nq \xff\t2\n", "line 2: not UTF-8"),
        ("q\t1\n".encode("utf-16"), "line 1: not UTF-8"),
        ("q 1\t1\nq \ufffd\t2\n".encode(), r"line 2: a character was lost .*\(U\+FFFD\)"),
        (b"q 1\t1\nq 2\t2\n", r"mgsm_te\.tsv has 2 items; search_items 4 \+ held_out_items 6 = 10"),
        (None, r"mgsm_te\.tsv: cannot be read .* Name a folder of MGSM's files"),
    ],
)
def test_bad_questions(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "mgsm_te.tsv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        mgsm("te", tmp_path, shots=0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "json",
            '{"exemplars":\n{"te": }',
            r"exemplars\.json, line 2: not JSON .*\. Exemplars are",
        ),
        ("json", '{"exemplars": {}}', r"no exemplars of 'te' in the expected shape \(KeyError"),
        ("json", '{"exemplars": {"te": {"1": {"q": "a"}}}}', "of 'te' in the expected shape"),
        ("json", '{"exemplars": {"te": {"one": {}}}}', "of 'te' in the expected shape"),
        ("json", "[]", "of 'te' in the expected shape"),
        ("json", '{"exemplars": {"te": {}}}', "0 exemplars of 'te', shots 2 are asked for"),
        ("py", "A = 1\nMGSM_EXEMPLARS = {", r"exemplars\.py, line 2: not Python"),
        ("py", "MGSM_EXEMPLARS = open('x')", "of 'te' in the expected shape"),
        ("py", "EXEMPLARS = {}", r"exemplars\.py: .* shape \(KeyError\('MGSM_EXEMPLARS'\)\)"),
    ],
)
def test_bad_exemplars(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / f"exemplars.{name}").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_exemplars(MgsmSource(tmp_path), language("te"), 2)


def shown(folder: Path, code: str, question: object, answer: object) -> Exemplar:
    given = {"exemplars": {code: {"1": {"q": question, "a": answer}}}}
    (folder / "exemplars.json").write_text(json.dumps(given), encoding="utf-8")
    return read_exemplars(MgsmSource(folder), language(code), 1)[0]


@pytest.mark.parametrize("code", MGSM_CODES)
def test_mirrors_may_leave_the_words_out_or_write_them_otherwise(tmp_path: Path, code: str) -> None:
    words, english = language(code).mgsm_words, language("en").mgsm_words
    bare = Exemplar("1 + 1?", "1 + 1 = 2.")
    asked = ("", words.question, words.asked or "", english.question, words.question.upper())
    answered = ("", words.answer, f"{words.heading or words.answer} ", english.answer, "Answer: ")
    for question, answer in zip(asked, answered, strict=True):
        assert shown(tmp_path, code, question + bare.question, answer + bare.answer) == bare


def test_a_word_in_the_middle_of_an_exemplar_stays(tmp_path: Path) -> None:
    found = shown(tmp_path, "en", "He asks: Question: 1?", "Questions are 2. The answer is 2.")
    assert found == Exemplar("He asks: Question: 1?", "Questions are 2. The answer is 2.")


@pytest.mark.parametrize(
    ("question", "answer", "message"),
    [
        ("1?", 1, "exemplar 1 of 'te' has the text 1. Each exemplar is a question and its answer"),
        ("1?", None, "has the text None"),
        (["1?"], "1.", r"has the text \['1\?'\]"),
        ("Question: ", "1.", "has the text 'Question: '"),
        ("1?", "\ud83d 1.", r"has the text '\\ud83d 1\.'"),
    ],
)
def test_exemplars_that_are_refused(
    tmp_path: Path, question: object, answer: object, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        shown(tmp_path, "te", question, answer)


@given(with_one_changed({"exemplars": {"te": {"1": {"q": "1?", "a": "1."}}}}))
def test_exemplars_of_any_shape(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "exemplars.json").write_bytes(written(data))
    with contextlib.suppress(DataError):
        (found,) = read_exemplars(MgsmSource(folder), language("te"), 1)
        f"{found.question}{found.answer}".encode()


@pytest.mark.parametrize("shots", [0, 2])
def test_a_language_that_mgsm_lacks(shots: int) -> None:
    with pytest.raises(LanguageError, match="MGSM has no Korean"):
        read_exemplars(OURS, language("ko"), shots)


@pytest.fixture(scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Of the process apart, which the library is used in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
        apart.stop()
        yield
    apart.stop()


@pytest.fixture
def hub(tmp_path: Path, _cache: None) -> Path:
    """A data set repository in a folder, as the hub has them: JSON lines and a card."""
    folder = tmp_path / "repository"
    folder.mkdir()
    files = [{"split": split, "path": f"{split}.jsonl"} for split in ("train", "test")]
    card = f"---\nconfigs:\n- config_name: te\n  data_files: {json.dumps(files)}\n---\n"
    (folder / "README.md").write_text(card, encoding="utf-8")
    write(
        folder / "train.jsonl",
        [
            {"question": row["q"], "answer": row["a"], "answer_number": n, "equation_solution": ""}
            for row, n in zip(table()["te"].values(), (6, 5), strict=True)
        ],
    )
    items, _ = read_mgsm(OURS, language("te"))
    write(
        folder / "test.jsonl",
        [
            {"question": item.question, "answer": None, "answer_number": int(item.target)}
            for item in items
        ],
    )
    return folder


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@needs_datasets
def test_a_data_set_of_the_hub_reads_like_the_folder(hub: Path) -> None:
    source = MgsmSource(dataset=str(hub))
    items, where = read_mgsm(source, language("te"))
    assert where == f"{hub} (te, test)"
    assert items == read_mgsm(OURS, language("te"))[0]
    assert read_exemplars(source, language("te"), 2) == TELUGU_SHOTS
    from_folder, from_hub = mgsm(), mgsm(data_dir=None, dataset=str(hub))
    assert from_hub.requests("search") == from_folder.requests("search")
    assert from_hub.split_hash == from_folder.split_hash


@needs_datasets
def test_a_local_data_set_is_read_as_it_is_now(hub: Path) -> None:
    """`datasets` by itself returns what its cache has of a folder of that name."""
    source = MgsmSource(dataset=str(hub))
    assert len(read_mgsm(source, language("te"))[0]) == 10
    write(hub / "test.jsonl", [{"question": "a?", "answer_number": 1}])
    assert len(read_mgsm(source, language("te"))[0]) == 1


@needs_datasets
def test_numbers_as_text(hub: Path) -> None:
    for split in ("train", "test"):
        write(hub / f"{split}.jsonl", [{"question": "a?", "answer_number": "2,125"}])
    items, _ = read_mgsm(MgsmSource(dataset=str(hub)), language("te"))
    assert [int(item.target) for item in items] == [2125]


@needs_datasets
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"question": "a?", "answer": None}], r"\(te, test\): no column answer_number\. It has"),
        (
            [{"question": "a?", "answer_number": 1}, {"question": "a?", "answer_number": 2}],
            r"\(te, test\), line 2: the question of line 1 again",
        ),
        (
            [{"question": "a?", "answer_number": None}, {"question": "b?", "answer_number": 2}],
            r"\(te, test\), line 1: the answer None is not one number",
        ),
        (
            [{"question": "a?", "answer_number": 1}, {"question": None, "answer_number": 2}],
            r"\(te, test\), line 2: no question",
        ),
    ],
)
def test_a_bad_data_set(hub: Path, rows: list[dict], message: str) -> None:
    for split in ("train", "test"):
        write(hub / f"{split}.jsonl", rows)
    with pytest.raises(DataError, match=message):
        read_mgsm(MgsmSource(dataset=str(hub)), language("te"))


@needs_datasets
@pytest.mark.parametrize(
    ("dataset", "code"),
    [
        ("{hub}", "sw"),  # no such configuration
        ("{hub}/nowhere", "te"),
        ("nobody-here/no-such-mgsm", "te"),  # offline
        ("nobody-here/no-such-mgsm@v1", "te"),
    ],
)
def test_a_data_set_that_cannot_be_loaded(hub: Path, dataset: str, code: str) -> None:
    source = MgsmSource(dataset=dataset.format(hub=hub))
    with pytest.raises(
        DataError, match=r"cannot be loaded .*Name a folder of MGSM's files .* or a"
    ):
        read_mgsm(source, language(code))


@needs_datasets
def test_a_data_set_with_a_broken_file(hub: Path) -> None:
    (hub / "test.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"\(te, test\): cannot be loaded"):
        read_mgsm(MgsmSource(dataset=str(hub)), language("te"))


@needs_datasets
def test_a_data_set_with_too_few_exemplars(hub: Path) -> None:
    with pytest.raises(DataError, match=r"\(te, train\): 2 exemplars of 'te', shots 8 are asked"):
        read_exemplars(MgsmSource(dataset=str(hub)), language("te"), 8)


@pytest.mark.slow
def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DependencyError, match=r"pip install datasets, or name a folder of MGSM's"):
        read_mgsm(MgsmSource(dataset="juletxara/mgsm"), language("te"))
