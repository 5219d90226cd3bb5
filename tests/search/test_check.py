"""The command that checks a family: its table, every fault at once, its exit status."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from search import check
from search.checkpoints.family import Family
from tests.search.checkpoints.adapters import Q, pair, write_adapter
from tests.sparse import LLAMA_8B, write_sparse

Run = tuple[int, str, str]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Check a family; gives exit status, output and errors."""

    def run(family: dict[str, object], *arguments: str) -> Run:
        file = tmp_path / "family.yaml"
        file.write_text(yaml.safe_dump(family))
        status = check.main([f"family={file}", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def described(family: Family, **changes: object) -> dict[str, object]:
    data = {
        "name": family.name,
        "base": str(family.base),
        "task": [str(place) for place in family.task],
        "language": {"te": [str(place) for place in family.language["te"]]},
    }
    return data | changes


def rows(output: str) -> dict[str, list[str]]:
    """Source -> the table's cells."""
    lines = [line.split() for line in output.splitlines()]
    return {cells[0]: cells[1:] for cells in lines if {"yes", "no", "?"} & set(cells[1:2])}


def test_fits(run, tiny_llama: Family) -> None:  # type: ignore[no-untyped-def]
    status, output, _ = run(described(tiny_llama))
    assert status == 0 and output.endswith("all fit\n")
    table = rows(output)
    assert set(table) == {"base", "task/0", "task/1", "te/0", "te/1"}
    assert table["base"][:6] == ["yes", "base", "folder", "4", "BF16", "no"]
    assert table["base"][6:] == ["156", "k", "313", "kB"]
    assert table["te/1"][:8] == ["yes", "te-1", "folder", "4", "same", "BF16", "no", "same"]
    words = "4 layers, hidden 64, MLP 96, 2 heads (1 key-value), 258 tokens"
    assert words in " ".join(output.split())


def test_one_language(run, tiny_llama: Family) -> None:  # type: ignore[no-untyped-def]
    language = {"te": [str(tiny_llama.base)], "sw": ["nowhere"]}
    status, output, _ = run(described(tiny_llama, language=language), "--lang", "te")
    assert status == 0 and "lang/0" in rows(output)
    assert run(described(tiny_llama, language=language))[0] == 2


def test_all_faults_at_once(  # type: ignore[no-untyped-def]
    run, tiny_llama: Family, tiny_qwen2: Family, tmp_path: Path
) -> None:
    edited = tmp_path / "edited"
    shutil.copytree(tiny_llama.task[1], edited)
    config = json.loads((edited / "config.json").read_text())
    (edited / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    lora = write_adapter(tmp_path / "lora", pair(Q(0), 96, 64))
    places = [str(tiny_qwen2.base), str(edited), str(lora)]
    status, output, _ = run(described(tiny_llama, task=places))
    assert status == 1
    table = rows(output)
    assert [table[f"task/{i}"][0] for i in range(3)] == ["no"] * 3 and table["te/0"][0] == "yes"
    for words in (
        "has model_type qwen2, base has llama",
        "has tie_word_embeddings True, base has False",
        "has rms_norm_eps 0.5, base has 1e-06: it computes differently",
        "is a LoRA adapter that does not fit this base",
    ):
        assert words in output


def test_what_cannot_be_opened_and_what_does_not_fit(  # type: ignore[no-untyped-def]
    run, tiny_llama: Family, tiny_qwen2: Family
) -> None:
    status, output, _ = run(described(tiny_llama, task=["/nowhere", str(tiny_qwen2.base)]))
    assert status == 2
    assert "task/0: /nowhere/config.json is missing" in output and "has model_type qwen2" in output


def test_base_that_cannot_be_opened(run, tiny_llama: Family) -> None:  # type: ignore[no-untyped-def]
    status, output, _ = run(described(tiny_llama, base="/nowhere"))
    assert status == 2
    assert rows(output)["base"][0] == "no" and rows(output)["te/0"][0] == "?"


@pytest.mark.parametrize(
    ("family", "arguments", "message"),
    [
        ({"name": "x", "base": "b", "task": ["m"]}, [], "family.language: missing"),
        (
            {"name": "x", "base": "", "task": ["m"], "language": {"te": ["t"]}},
            [],
            "family.base = ''",
        ),
        (None, ["--lang", "fr"], "--lang fr: family tiny-llama has no expert for it; it has te"),
        (None, ["search.trails=3"], "unknown key"),
    ],
)
def test_bad_input(  # type: ignore[no-untyped-def]
    run, tiny_llama: Family, family: dict[str, object], arguments: list[str], message: str
) -> None:
    status, _, error = run(family or described(tiny_llama), *arguments)
    assert status == 2
    assert error.startswith("error: ") and message in error


def test_nine_experts_of_8b(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """150 GB of weights that do not exist: only headers are read."""
    names = ["base", *(f"{kind}-{i}" for kind in ("math", "sw", "te") for i in range(3))]
    folders = {name: str(write_sparse(tmp_path / name, dict(LLAMA_8B))) for name in names}
    (tmp_path / "base" / "vocab.json").write_text("{}")
    language = {code: [folders[f"{code}-{i}"] for i in range(3)] for code in ("sw", "te")}
    task = [folders[f"math-{i}"] for i in range(3)]
    family = {"name": "big", "base": folders["base"], "task": task, "language": language}
    status, output, _ = run(family)
    assert status == 0
    table = rows(output)
    assert len(table) == 10
    for name in ("base", "task/2", "sw/0", "te/2"):
        assert table[name][-4:] == ["8.03", "B", "16.1", "GB"]
    files = list(tmp_path.rglob("*.safetensors"))
    assert sum(f.stat().st_size for f in files) > 160e9
    assert sum(f.stat().st_blocks * 512 for f in files) < 10e6


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys; from search.check import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print({'torch', 'huggingface_hub', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr
    assert "exit status: 0 they fit, 1 some do not, 2" in done.stdout


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("tokenizer.json", None, "has no tokenizer, with which prompts are read"),
        ("generation_config.json", "[1]", "generation_config.json"),
        ("generation_config.json", "null", "generation_config.json"),
        ("tokenizer_config.json", '"x"', "tokenizer_config.json"),
    ],
)
def test_files_that_an_engine_opens_with_the_base(  # type: ignore[no-untyped-def]
    run, tiny_llama: Family, tmp_path: Path, file: str, text: str | None, fault: str
) -> None:
    base = Path(shutil.copytree(tiny_llama.base, tmp_path / "base"))
    (base / file).unlink(missing_ok=True)
    if text is not None:
        (base / file).write_text(text)
    status, output, _ = run(described(tiny_llama, base=str(base)))
    assert status and fault in output
    assert rows(output)["base"][0] == "no" or rows(output)["base"][1] == "no"
