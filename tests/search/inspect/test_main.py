"""The command: constructed families with a known answer, files that the search takes, bad input."""

from __future__ import annotations

import csv
import errno
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from matplotlib.image import imread
from safetensors.torch import load_file, save_file

from search.config import compose
from search.inspect.__main__ import main
from search.merging.plan import layer_of

L = 8


def changed(base: Path, folder: Path, layers: range | list[int], seed: int) -> Path:
    """A copy of a checkpoint with noise in some layers."""
    generator = torch.Generator().manual_seed(seed)
    shutil.copytree(base, folder)
    tensors = load_file(base / "model.safetensors")
    for name, tensor in tensors.items():
        if layer_of(name) in layers:
            noise = 0.02 * torch.randn(tensor.shape, generator=generator)
            tensors[name] = (tensor.float() + noise).to(tensor.dtype)
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama: language experts changed layers 0, 1 and 7, math experts 2 to 6.

    Of `sw`, the expert changed every layer; of `bn`, it holds a NaN; of `ja`, it is the base.
    """
    from tests.families import make_family

    folder = tmp_path_factory.mktemp("inspected")
    base = make_family(folder, "llama", n_layers=L, task=0, lang=0).base
    nan = changed(base, folder / "bn", [0], 5)
    tensors = load_file(nan / "model.safetensors")
    tensors["model.layers.3.mlp.up_proj.weight"][2, 2] = torch.nan
    save_file(tensors, nan / "model.safetensors")
    own = {
        "name": "tiny",
        "base": str(base),
        "task": [str(changed(base, folder / f"math-{i}", range(2, 7), i)) for i in range(2)],
        "language": {
            "te": [str(changed(base, folder / f"te-{i}", [0, 1, 7], 10 + i)) for i in range(2)],
            "sw": [str(changed(base, folder / "sw", range(8), 20))],
            "bn": [str(nan)],
            "ja": [str(base)],
        },
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(own))
    same = own | {"task": [str(changed(base, folder / "math-all", range(8), 30))]}
    (folder / "same.yaml").write_text(yaml.safe_dump(same))
    return folder


def test_a_family_with_a_known_answer(
    family: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([f"family={family / 'tiny.yaml'}", "--lang", "te", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "b=2 u=1 keeps most of what the experts changed, 100%" in printed
    assert f"space={out / 'space.yaml'}" in printed
    assert sorted(f.name for f in out.iterdir()) == [
        "cosines.csv",
        "expert_vectors.csv",
        "expert_vectors.png",
        "layerwise.yaml",
        "space.yaml",
    ]
    space = compose.load([f"space={out / 'space.yaml'}"], {"lang": "te"}).space
    assert (space.b, space.u, space.t_b, space.t_u) == ((1, 3), (0, 2), (0, 1), (0, 1))
    whole = compose.load(["space=whole_model"], {"lang": "te"}).space
    names = {"b", "u", "t_b", "t_u"}
    assert space.model_dump(exclude=names) == whole.model_dump(exclude=names)
    assert imread(out / "expert_vectors.png").ndim == 3
    with (out / "expert_vectors.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    moved = {
        (row["expert"], int(row["layer"])) for row in rows if row["layer"] and float(row["rms"])
    }
    assert moved == {
        *((f"task/{i}", layer) for i in (0, 1) for layer in range(2, 7)),
        *((f"lang/{i}", layer) for i in (0, 1) for layer in (0, 1, 7)),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "lang", "why"),
    [
        ("same.yaml", "sw", "less than 20%: they changed the same layers"),
        ("tiny.yaml", "ja", "no column of the language experts passes the threshold"),
    ],
)
def test_maps_that_say_nothing(
    family: Path,
    tmp_path: Path,
    file: str,
    lang: str,
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([f"family={family / file}", "--lang", lang, "--out", str(tmp_path)]) == 0
    assert why in " ".join(capsys.readouterr().out.split())
    assert why in (tmp_path / "space.yaml").read_text()
    space = compose.load([f"space={tmp_path / 'space.yaml'}"], {"lang": lang}).space
    assert (space.b, space.u, space.t_b, space.t_u) == (None,) * 4


@pytest.mark.slow
def test_the_folder_is_named_after_family_and_language(
    family: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--lang", "te", f"family={family / 'tiny.yaml'}", "--threshold", "0.01"]) == 0
    assert (tmp_path / "inspect/tiny-te/space.yaml").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lang", "fr"], "family tiny has no expert for it; it has bn, ja, sw, te"),
        (["--lang", "te", "--top", "0"], "--top 0.0 must lie between 0 and 1"),
        (["--lang", "te", "--threshold", "nan"], "--threshold nan must be finite"),
        (
            ["--lang", "te", "--threshold", "1", "--top", "2"],
            "2 faults|exclude each other|--top 2.0",
        ),
        (["--lang", "te", "space=paper"], "'space=paper': only the family matters here"),
        (["--lang", "te", "family.base=nowhere"], "nowhere/config.json is missing"),
        (["--lang", "bn"], "model.layers.3.mlp.up_proj.weight"),
    ],
)
def test_bad_input_is_one_clear_error(
    family: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert main([f"family={family / 'tiny.yaml'}", "--out", str(out), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert all(part in error for part in message.split("|"))
    assert not list(tmp_path.glob("out/*"))


def test_a_folder_that_cannot_be_made(
    family: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    arguments = ["--lang", "te", "--out", str(tmp_path / "file")]
    assert main([f"family={family / 'tiny.yaml'}", *arguments]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_folder_that_takes_no_file(
    family: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a read-only disk: it is known before the experts are read."""

    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr("search.inspect.__main__._measure", lambda *_: pytest.fail("was read"))
    arguments = ["--lang", "te", "--out", str(tmp_path / "out")]
    assert main([f"family={family / 'tiny.yaml'}", *arguments]) == 2
    assert "out cannot be written: [Errno 30] Read-only" in capsys.readouterr().err


@pytest.mark.slow
def test_the_demo_family_says_what_its_training_put_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its experts were stitched: language at up to three layers of each end (demo/experts.py)."""
    assert main(["--lang", "te", "--out", str(tmp_path)]) == 0
    space = compose.load([f"space={tmp_path / 'space.yaml'}"], {"lang": "te"}).space
    assert (space.b, space.u) == ((1, 4), (0, 3))
    assert "b=2 u=2 keeps most" in capsys.readouterr().out
