"""What fine-tuning changed: each expert's vector W_ft - W_pre by layer and matrix, and cosines.

The statistic is that of Figure 2 of Bandarkar et al. 2024 (arXiv 2410.01335): the share of a
matrix's input columns whose mean absolute change passes a threshold. The paper does not give the
threshold, so by default every expert has its own: the one that a quarter of its columns pass.
Shares then say *where* an expert changed, whatever its learning rate and number of steps, and
experts can be compared layer by layer. One absolute threshold for all shows how *strongly* as well.

Owns the measurement. Knows nothing of pictures, or of what follows for the search.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from objectives.words import counted
from search.checkpoints.family import FittedFamily
from search.common.errors import CheckpointError
from search.merging.plan import layer_of
from search.records.durable import write_whole

TOP = 0.25
"""Share of an expert's input columns that count as changed, unless a threshold is given."""

_BLOCK = 2**18  # weights of each expert that are compared at once: 1 MiB, stays in the cache
_ORDER = ("q_proj", "k_proj", "v_proj", "qkv", "o_proj", "dense", "gate", "up_proj", "down_proj")


@dataclass(frozen=True)
class Cell:
    """One expert's change of one matrix of one layer.

    Attributes:
        expert: source name, such as `task/0`.
        layer: layer number; None for tensors outside the layers (embeddings, final norm, head).
        matrix: the tensor's name within the layer; the experts of a mixture are taken together.
        columns: number of input columns; a vector (norm, bias) has one for each element.
        share: share of the columns whose mean absolute change is above the expert's threshold.
        mean_abs: mean absolute change, in units of the weights.
        rms: root mean square of the change, in units of the weights.
        relative: norm of the change / norm of the base's weights.
    """

    expert: str
    layer: int | None
    matrix: str
    columns: int
    share: float
    mean_abs: float
    rms: float
    relative: float


@dataclass(frozen=True)
class ExpertVectors:
    """All that was measured.

    Attributes:
        n_layers: number of layers L.
        thresholds: expert -> threshold on a column's mean absolute change.
        cells: every expert's cells.
        shares: expert -> for each layer the share of changed columns of all its matrices (vectors
            left out).
        cosines: pair of experts -> cosine of their vectors in each layer; NaN where one is zero.
        matrices: names within a layer: matrices in the order of the forward pass, then vectors.
        n_vectors: how many of `matrices` are vectors (norms, biases), at their end.
    """

    n_layers: int
    thresholds: Mapping[str, float]
    cells: tuple[Cell, ...]
    shares: Mapping[str, tuple[float, ...]]
    cosines: Mapping[tuple[str, str], tuple[float, ...]]
    matrices: tuple[str, ...]
    n_vectors: int

    @property
    def experts(self) -> tuple[str, ...]:
        """Source names of the experts."""
        return tuple(self.thresholds)


@dataclass
class _Group:
    """Sums over the tensors of one matrix name in one layer; E experts."""

    is_matrix: bool
    columns: list[np.ndarray] = field(default_factory=list)  # E x columns: mean absolute change
    dots: np.ndarray | float = 0.0  # E x E: dot products of the changes
    base: float = 0.0  # sum of the squares of the base's weights
    weights: int = 0


def measure(
    family: FittedFamily,
    experts: Sequence[str],
    *,
    top: float = TOP,
    threshold: float | None = None,
    advance: Callable[[int], None] = lambda weights: None,
) -> ExpertVectors:
    """Compare experts with their base in one pass over the checkpoints.

    Memory: one memory-mapped tensor of each checkpoint, a few MiB of float32 for the block at work,
    and the mean change of every column (32 layers of Llama 3.1 8B: 5 MiB for each expert).

    Args:
        family: checkpoints that fit together.
        experts: source names to compare with the base.
        top: share of each expert's input columns (matrices of the layers only) that pass its own
            threshold; unchanged columns never pass.
        threshold: one absolute threshold for all experts instead, in units of the weights.
        advance: called with the number of weights compared since the last call.

    Raises:
        CheckpointError: weights are not finite; every tensor is named.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # blocks this small only wait for further threads
    try:
        groups = _collect(family, experts, advance)
    finally:
        torch.set_num_threads(threads)
    return _summarise(groups, experts, family, top, threshold)


def _collect(
    family: FittedFamily, experts: Sequence[str], advance: Callable[[int], None]
) -> dict[tuple[int | None, str], _Group]:
    groups: dict[tuple[int | None, str], _Group] = {}
    faults = []
    for name in family.names:
        columns, dots, squares = _compare(
            [family.sources[s].read(name) for s in ("base", *experts)]
        )
        shape = family.base.tensors[name].shape
        faults += [
            f"{e} ({family.sources[e].path}): {name}"
            for e, square in zip(experts, dots.diagonal(), strict=True)
            if not math.isfinite(square)
        ]
        group = groups.setdefault(_place(name), _Group(is_matrix=len(shape) > 1))
        group.columns.append(columns)
        group.dots = group.dots + dots
        group.base += squares
        group.weights += math.prod(shape)
        advance(math.prod(shape))
    if faults:
        raise CheckpointError(
            f"in {counted(len(faults), 'tensor')} of experts, or of the base, there is NaN, "
            "infinity or what overflows float32:\n  " + "\n  ".join(faults)
        )
    return groups


def _compare(tensors: Sequence[torch.Tensor]) -> tuple[np.ndarray, np.ndarray, float]:
    """Compare one tensor of E experts with the base's, block by block.

    Args:
        tensors: the base's, then the experts'.

    Returns:
        The columns' mean absolute changes (E x columns, float32), the changes' dot products
        (E x E, float64) and the sum of the squares of the base's weights. The last dimension holds
        the input columns, as in torch's Linear; those before the last two are kept apart.
    """
    first, n = tensors[0], len(tensors) - 1
    rows, width = first.shape[-2:] if first.ndim > 1 else (1, first.numel())
    stacks = [tensor.reshape(-1, rows, width) for tensor in tensors]
    columns = torch.zeros(n, len(stacks[0]), width)
    dots = torch.zeros(n, n, dtype=torch.float64)
    squares = 0.0
    step = max(1, _BLOCK // width)
    for matrix in range(len(stacks[0])):
        for start in range(0, rows, step):
            base, *own = (s[matrix, start : start + step].float() for s in stacks)
            change = torch.stack(own).sub_(base)
            flat = change.view(n, -1)
            dots += (flat @ flat.T).double()
            squares += float(base.flatten() @ base.flatten())
            columns[:, matrix] += change.abs_().sum(dim=1)
    return columns.div_(rows).flatten(1).numpy(), dots.numpy(), squares


def _summarise(
    groups: Mapping[tuple[int | None, str], _Group],
    experts: Sequence[str],
    family: FittedFamily,
    top: float,
    threshold: float | None,
) -> ExpertVectors:
    columns = {place: np.concatenate(g.columns, axis=1) for place, g in groups.items()}
    layers = [
        np.concatenate([columns[p] for p, g in groups.items() if p[0] == i and g.is_matrix], axis=1)
        for i in range(family.n_layers)
    ]
    if threshold is None:
        limits = np.quantile(np.concatenate(layers, axis=1), 1 - top, axis=1)
    else:
        limits = np.full(len(experts), threshold)
    cells = []
    for e, expert in enumerate(experts):
        for (layer, matrix), group in groups.items():
            changes = columns[layer, matrix][e]
            squares = float(np.asarray(group.dots)[e, e])
            cells.append(
                Cell(
                    expert,
                    layer,
                    matrix,
                    columns=len(changes),
                    share=float((changes > limits[e]).mean()),
                    mean_abs=float(changes.mean(dtype=np.float64)),
                    rms=math.sqrt(squares / group.weights),
                    relative=math.sqrt(squares / group.base) if group.base else math.nan,
                )
            )
    names = {matrix: g.is_matrix for (layer, matrix), g in groups.items() if layer is not None}
    dots = [sum(g.dots for p, g in groups.items() if p[0] == i) for i in range(family.n_layers)]
    return ExpertVectors(
        n_layers=family.n_layers,
        thresholds={expert: float(limits[e]) for e, expert in enumerate(experts)},
        cells=tuple(cells),
        shares={
            expert: tuple(float((layer[e] > limits[e]).mean()) for layer in layers)
            for e, expert in enumerate(experts)
        },
        cosines={
            (experts[i], experts[j]): tuple(_cosine(np.asarray(d), i, j) for d in dots)
            for i, j in combinations(range(len(experts)), 2)
        },
        matrices=tuple(sorted(names, key=lambda matrix: _order(matrix, names[matrix]))),
        n_vectors=sum(not is_matrix for is_matrix in names.values()),
    )


def _cosine(dots: np.ndarray, i: int, j: int) -> float:
    norms = math.sqrt(dots[i, i] * dots[j, j])
    return float(dots[i, j] / norms) if norms else math.nan


def _place(name: str) -> tuple[int | None, str]:
    """Layer and name within it; the number of a mixture's expert becomes a star."""
    layer = layer_of(name)
    within = name if layer is None else f".{name}".partition(f".{layer}.")[2]
    parts = within.removesuffix(".weight").split(".")
    return layer, ".".join("*" if part.isdecimal() else part for part in parts)


def _order(matrix: str, is_matrix: bool) -> tuple[bool, int, str]:
    """Sorts the names within a layer: as in the forward pass, vectors last."""
    known = [i for i, part in enumerate(_ORDER) if part in matrix]
    return not is_matrix, min(known, default=len(_ORDER)), matrix


def write_csv(vectors: ExpertVectors, folder: Path) -> list[Path]:
    """Write expert_vectors.csv (one row for each cell) and cosines.csv (pair and layer).

    Empty fields: no layer (tensors outside the layers), or no cosine (a vector is zero).
    """
    files = [folder / "expert_vectors.csv", folder / "cosines.csv"]
    texts = io.StringIO(), io.StringIO()
    writer = csv.DictWriter(texts[0], [f.name for f in fields(Cell)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(cell) for cell in vectors.cells)
    rows = csv.writer(texts[1], lineterminator="\n")
    rows.writerow(["expert_a", "expert_b", "layer", "cosine"])
    for pair, cosines in vectors.cosines.items():
        for layer, cosine in enumerate(cosines):
            rows.writerow([*pair, layer, "" if math.isnan(cosine) else cosine])
    for file, text in zip(files, texts, strict=True):
        write_whole(file, text.getvalue().encode())
    return files
