"""A few bytes that stand for many."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from objectives import apart
from objectives.datasets import MgsmSource, read_mgsm
from objectives.errors import DataError
from objectives.languages import language
from tests.hostile.limits import limited
from tests.search.records.samples import ITEM

ITEMS = """
import sys
from pathlib import Path
from search.records.items import unpack_items
try:
    unpack_items(Path(sys.argv[1]).read_bytes())
except ValueError as error:
    print(error)
"""
CARD = """
import sys
from pathlib import Path
from search.export.model_card import licence_of
for folder in sys.argv[1:]:
    print(len(licence_of(Path(folder))))
"""


@pytest.mark.slow
def test_items_that_unpack_to_much_more(tmp_path: Path) -> None:
    row = {"objective": ITEM.objective, "id": ITEM.id, "prompt": "x" * 2**21}
    data = gzip.compress(b"\n".join([json.dumps(row).encode()] * 100))
    (tmp_path / "items.gz").write_bytes(data)
    assert len(data) < 2**18
    run = limited("-c", ITEMS, str(tmp_path / "items.gz"))
    assert run.stdout == "unpacked, it is more than 32 MiB, which we never write\n", run.stderr


@pytest.mark.slow
def test_cards_that_double_with_every_line(tmp_path: Path) -> None:
    lists = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    maps = [f"b{i}: &b{i} {{<<: [{', '.join([f'*b{i - 1}'] * 9)}]}}" for i in range(1, 9)]
    heads = {
        "lists": ["a0: &a0 [x, x]", *lists, "license: *a8"],
        "maps": ["b0: &b0 {x: y}", *maps, "license: *b8"],
        "name": ["a0: &a0 [x, x]", *lists, "license: mit", "license_name: *a8"],
        "deep": ["license: " + "[" * 10_000],
        "long": ["license: " + "x" * 10_000_000],
        "itself": ["license: &a [*a]"],
    }
    for name, lines in heads.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text("\n".join(["---", *lines, "---", ""]))
    run = limited("-c", CARD, *(str(tmp_path / name) for name in heads))
    assert run.returncode == 0, run.stderr[-2000:]
    assert max(map(int, run.stdout.split())) <= 300 and len(run.stdout.split()) == len(heads)


ROW = json.dumps({"question": "q" * 2**20, "answer_number": 1}).encode() + b"\n"
LINES = 100


def _packed(opened: Callable[..., Any]) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        with opened(folder / "test.jsonl.x", "wb") as file:
            for _ in range(LINES):
                file.write(ROW)
        return "test.jsonl.x"

    return make


def _zip(folder: Path) -> str:
    with zipfile.ZipFile(folder / "test.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for number in range(LINES):
            file.writestr(f"{number}.jsonl", ROW)
    return "test.zip"


def _tar(folder: Path) -> str:
    with tarfile.open(folder / "test.jsonl.tgz", "w:gz") as file:
        (folder.parent / "row").write_bytes(ROW)
        for number in range(LINES):
            file.add(folder.parent / "row", f"{number}.jsonl")
    return "test.jsonl.tgz"


def _parquet(folder: Path) -> str:
    import pyarrow
    from pyarrow import parquet

    values = pyarrow.array([0] * 2_000_000, pyarrow.int32())
    texts = pyarrow.array(["q" * 2**16])
    column = pyarrow.DictionaryArray.from_arrays(values, texts)
    table = pyarrow.table({"question": column, "answer_number": values})
    parquet.write_table(table, folder / "test.parquet")
    return "test.parquet"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of the library that reads data sets, in the process apart."""
    pytest.importorskip("datasets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("home")))
        apart.stop()
        yield Path(os.environ["HF_HOME"])
    apart.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [_packed(gzip.open), _packed(bz2.open), _packed(lzma.open), _zip, _tar, _parquet],
    ids=["gzip", "bzip2", "xz", "zip", "tar", "parquet"],
)
def test_data_sets_that_unpack_to_much_more(
    make: Callable[[Path], str], tmp_path: Path, home: Path
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    file = make(folder)
    assert (folder / file).stat().st_size < 2**20
    files = json.dumps([{"split": "test", "path": file}])
    card = f"---\nconfigs:\n- config_name: te\n  data_files: {files}\n---\n"
    (folder / "README.md").write_text(card)
    with pytest.raises(DataError, match=r"\(te, test\): cannot be loaded"):
        read_mgsm(MgsmSource(dataset=str(folder)), language("te"))
    assert sum(file.stat().st_size for file in home.rglob("*") if file.is_file()) < 2**20
