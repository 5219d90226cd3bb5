"""Expert vectors against the definitions written out; names, thresholds, memory, faults, CSV."""

from __future__ import annotations

import csv
import json
import math
import weakref
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import Family, FittedFamily, fit
from search.common.errors import CheckpointError
from search.inspect import expert_vectors
from search.inspect.expert_vectors import ExpertVectors, measure, write_csv
from search.merging.plan import layer_of

EXPERTS = ("task/0", "task/1", "lang/0", "lang/1")


def fitted(family: Family, lang: str = "te") -> FittedFamily:
    return fit(family.sources(lang), check_finite=False)


def make(folder: Path, tensors: dict[str, torch.Tensor], layers: int = 1) -> Path:
    """A checkpoint of any tensors: what a header-only reader takes for a model."""
    folder.mkdir()
    config = {"num_hidden_layers": layers, "architectures": ["LlamaForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.json").write_text("{}")
    save_file(tensors, folder / "model.safetensors")
    return folder


def changes(family: FittedFamily, expert: str) -> dict[str, np.ndarray]:
    """W_ft - W_pre of every tensor, the plain way."""
    files = (family.sources[s].path / "model.safetensors" for s in (expert, "base"))
    tuned, base = (load_file(file) for file in files)
    return {name: (tuned[name].double() - base[name].double()).numpy() for name in family.names}


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("block", [64, 500, 2**18])
def test_numbers_are_the_definitions(
    architecture: str, block: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expert_vectors, "_BLOCK", block)
    family = fitted(request.getfixturevalue(f"tiny_{architecture}"))
    vectors = measure(family, EXPERTS, threshold=0.0335)
    base = load_file(family.base.path / "model.safetensors")
    seen = 0
    for expert in EXPERTS:
        cells = {(c.layer, c.matrix): c for c in vectors.cells if c.expert == expert}
        for name, change in changes(family, expert).items():
            columns = np.abs(change).reshape(-1, change.shape[-1]).mean(axis=0)
            layer = layer_of(name)
            within = name if layer is None else name.split(".", 3)[3]
            cell = cells[layer, within.removesuffix(".weight")]
            assert cell.columns == change.shape[-1]
            assert cell.share == pytest.approx((columns > 0.0335).mean(), abs=1e-9)
            assert cell.mean_abs == pytest.approx(columns.mean(), rel=1e-5)
            assert cell.rms == pytest.approx(math.sqrt((change**2).mean()), rel=1e-5)
            norm = np.linalg.norm(base[name].double())
            assert cell.relative == pytest.approx(np.linalg.norm(change) / norm, rel=1e-5)
            seen += 1
        assert len(cells) == len(family.names)
    assert seen == len(EXPERTS) * len(family.names)


def test_cosines_are_those_of_the_layers_joined(tiny_llama: Family) -> None:
    family = fitted(tiny_llama)
    cosines = measure(family, EXPERTS).cosines
    assert set(cosines) == {(a, b) for i, a in enumerate(EXPERTS) for b in EXPERTS[i + 1 :]}
    for (a, b), found in cosines.items():
        for layer in range(family.n_layers):
            names = [n for n in family.names if layer_of(n) == layer]
            x, y = (
                np.concatenate([own[n].ravel() for n in names])
                for own in (changes(family, a), changes(family, b))
            )
            expected = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
            assert found[layer] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("top", [0.1, 0.25, 0.5])
def test_each_expert_has_its_own_threshold(tiny_llama: Family, top: float) -> None:
    vectors = measure(fitted(tiny_llama), EXPERTS, top=top)
    assert len(set(vectors.thresholds.values())) == len(EXPERTS)
    for expert, shares in vectors.shares.items():
        assert np.mean(shares) == pytest.approx(top, abs=0.002)  # all layers have as many columns
        assert vectors.thresholds[expert] > 0


def test_matrices_come_in_the_order_of_the_forward_pass(tiny_qwen2: Family) -> None:
    vectors = measure(fitted(tiny_qwen2), EXPERTS)
    names = [m.split(".", 1)[1] for m in vectors.matrices[:7]]
    assert names == [f"{m}_proj" for m in ("q", "k", "v", "o", "gate", "up", "down")]
    assert vectors.n_vectors == len(vectors.matrices) - 7 == 5  # two norms; q, k and v biases


def test_columns_that_did_not_change_never_count(tmp_path: Path) -> None:
    """Less than the top share changed: the threshold is 0, and only what changed passes."""
    base = {f"h.{i}.w.weight": torch.ones(6, 8) for i in range(5)}
    tuned = {name: w.clone() for name, w in base.items()}
    tuned["h.2.w.weight"][:, 3] += 0.5
    sources = {"base": make(tmp_path / "b", base, 5), "task/0": make(tmp_path / "t", tuned, 5)}
    vectors = measure(fit(sources, check_finite=False), ["task/0"], top=0.25)
    assert vectors.thresholds == {"task/0": 0.0}
    assert vectors.shares["task/0"] == (0.0, 0.0, 1 / 8, 0.0, 0.0)
    assert [cell.share for cell in vectors.cells] == [0.0, 0.0, 1 / 8, 0.0, 0.0]


def test_an_unchanged_layer_has_no_cosine(tmp_path: Path) -> None:
    base = {f"h.{i}.w.weight": torch.ones(2, 2) for i in range(2)}
    tuned = {"h.0.w.weight": torch.ones(2, 2), "h.1.w.weight": torch.zeros(2, 2)}
    sources = {"base": make(tmp_path / "b", base, 2)}
    sources |= {s: make(tmp_path / s[:4], tuned, 2) for s in ("task/0", "lang/0")}
    vectors = measure(fit(sources, check_finite=False), ["task/0", "lang/0"])
    zero, one = vectors.cosines["task/0", "lang/0"]
    assert math.isnan(zero)
    assert one == pytest.approx(1)
    _, cosines = write_csv(vectors, tmp_path)
    assert cosines.read_text().splitlines()[1] == "task/0,lang/0,0,"


def test_experts_of_a_mixture_stacked_or_not_are_one_matrix(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "model.layers.0.mlp.experts.0.w1.weight": torch.zeros(4, 6),
        "model.layers.0.mlp.experts.11.w1.weight": torch.zeros(4, 6),
        "model.layers.0.mlp.stacked": torch.zeros(3, 4, 6),
        "model.layers.0.scale": torch.zeros(()),
        "model.embed_tokens.weight": torch.zeros(5, 6),
    }
    tuned = {n: torch.randn(t.shape, generator=generator) for n, t in tensors.items()}
    sources = {"base": make(tmp_path / "b", tensors), "task/0": make(tmp_path / "t", tuned)}
    vectors = measure(fit(sources, check_finite=False), ["task/0"])
    assert {(c.layer, c.matrix): c.columns for c in vectors.cells} == {
        (None, "model.embed_tokens"): 6,
        (0, "mlp.experts.*.w1"): 12,
        (0, "mlp.stacked"): 18,
        (0, "scale"): 1,
    }
    stacked = next(c for c in vectors.cells if c.matrix == "mlp.stacked")
    columns = tuned["model.layers.0.mlp.stacked"].abs().mean(dim=1)
    threshold = vectors.thresholds["task/0"]
    assert stacked.share == pytest.approx((columns > threshold).double().mean().item())
    assert all(math.isnan(c.relative) for c in vectors.cells)  # the base is zero


def test_one_tensor_of_each_checkpoint_at_a_time(
    tiny_llama: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = fitted(tiny_llama)
    alive: Counter[Path] = Counter()
    most: Counter[Path] = Counter()
    read = Checkpoint.read

    def counted(self: Checkpoint, name: str) -> torch.Tensor:
        tensor = read(self, name)
        alive[self.path] += 1
        most[self.path] = max(most[self.path], alive[self.path])
        weakref.finalize(tensor, lambda: alive.subtract([self.path]))
        return tensor

    monkeypatch.setattr(Checkpoint, "read", counted)
    measure(family, EXPERTS)
    assert most == {family.sources[s].path: 1 for s in ("base", *EXPERTS)}


def test_progress_counts_every_weight_and_threads_are_given_back(tiny_llama: Family) -> None:
    family = fitted(tiny_llama)
    told: list[int] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        measure(family, EXPERTS[:1], advance=told.append)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert sum(told) == sum(math.prod(t.shape) for t in family.base.tensors.values())


def test_every_tensor_that_is_not_finite_is_named(tmp_path: Path) -> None:
    base = {f"h.{i}.w.weight": torch.ones(3, 3) for i in range(3)}
    bad = {n: t.clone() for n, t in base.items()}
    bad["h.0.w.weight"][0, 0] = torch.nan
    bad["h.2.w.weight"][2, 1] = torch.inf
    sources = {
        "base": make(tmp_path / "b", base, 3),
        "task/0": make(tmp_path / "t", base, 3),
        "lang/0": make(tmp_path / "l", bad, 3),
    }
    family = fit(sources, check_finite=False)
    with pytest.raises(CheckpointError, match="2 tensors") as caught:
        measure(family, ["task/0", "lang/0"])
    lines = str(caught.value).splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["lang/0", "lang/0"]
    assert [line.rpartition(" ")[2] for line in lines] == ["h.0.w.weight", "h.2.w.weight"]


def test_csv_holds_every_number(tiny_llama: Family, tmp_path: Path) -> None:
    vectors: ExpertVectors = measure(fitted(tiny_llama), EXPERTS)
    files = write_csv(vectors, tmp_path)
    cells, cosines = (list(csv.DictReader(file.open(encoding="utf-8"))) for file in files)
    assert len(cells) == len(vectors.cells)
    for row, cell in zip(cells, vectors.cells, strict=True):
        assert row["layer"] == ("" if cell.layer is None else str(cell.layer))
        assert (row["expert"], row["matrix"]) == (cell.expert, cell.matrix)
        assert float(row["share"]) == cell.share
        assert float(row["rms"]) == cell.rms
    assert len(cosines) == 6 * vectors.n_layers
    first = vectors.cosines["task/0", "task/1"][0]
    assert float(cosines[0]["cosine"]) == first
