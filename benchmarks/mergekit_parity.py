"""Our exports against mergekit 0.1.5's on the mergekit YAML of the same recipes, tensor by tensor.

python -m benchmarks.mergekit_parity [--mergekit-python PYTHON]

On the demo family as it is (bf16), and on copies of it with noise in float16 and float32, where the
last bit shows more. `--mergekit-python` is a Python that has mergekit (`pip install
mergekit==0.1.5`), if this one has not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from search.checkpoints.family import Family, FittedFamily, fit
from search.config import compose
from search.export.mergekit_yaml import mergekit_yaml
from search.export.writer import write_export
from search.merging.plan import Plan
from search.merging.recipe import LayerSwap, Recipe, Single, Slerp, Soup, TaskArithmetic, Ties

VERSION = "0.1.5"
DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}

PAIR = ("task/0", "lang/0")
THREE = ("task/0", "task/1", "lang/0")
RECIPES: list[Recipe] = [
    Single("task/0"),
    LayerSwap(0, 0, 1, 1, 1, 1, 0.4, 0.6),
    LayerSwap(0, 0, 2, 1, 3, 2, non_layer="base", ramp="linear"),
    LayerSwap((0, 1, 2), (0, 1), 2, 2, 1, 1, non_layer="task"),
    Soup(PAIR, (0.7, 0.3)),
    Soup(THREE, (1.0, 1.0, 1.0)),
    TaskArithmetic(PAIR, (0.5, 0.7)),
    TaskArithmetic(THREE, (0.4, 0.4, -0.3)),
    Ties(PAIR, 1.0, (1.0, 1.0)),
    Ties(PAIR, 0.5, (1.0, 1.0)),
    Ties(THREE, 0.2, (1.0, 0.5, 1.0), 0.8),
    Slerp(0, 0, (0.3,)),
    Slerp(0, 0, (0.0, 0.5, 0.3, 0.7, 1.0), 0.5),
]
REASONS = {
    "ties": "mergekit's sort leaves open which of several equal magnitudes at the threshold are "
    "kept, we keep the first; float32 weights have hardly any equals",
    "slerp": "mergekit takes the two coefficients in float32, we in float64",
}
_RUN_ALL = """
import sys, yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
options = MergeOptions(quiet=True, write_model_card=False)
for file, out in zip(sys.argv[1::2], sys.argv[2::2]):
    with open(file) as opened:
        wanted = MergeConfiguration.model_validate(yaml.safe_load(opened))
    run_merge(wanted, out, options)
"""


def main(mergekit_python: str = sys.executable) -> list[str]:
    """Merge everything both ways; lines of a Markdown table.

    Raises:
        SystemExit: mergekit 0.1.5 is not installed there, or it fails.
    """
    _require_mergekit(mergekit_python)
    lines = [
        f"mergekit {VERSION} on the YAML of each recipe against our export of it: tensors that are "
        "equal bit for bit, share of all elements that are not, and the largest difference in "
        "units in the last place of the largest source of the element.",
        "",
        "| dtype | method | recipe | equal tensors | other elements | ulp |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    reasons: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for dtype in DTYPES:
            for cells in _compare_all(dtype, Path(folder) / dtype, mergekit_python):
                lines.append(f"| {dtype} | " + " | ".join(cells) + " |")
                if cells[-1] != "0":
                    reasons[cells[0]] = REASONS[cells[0]]
    return [*lines, "", *(f"- `{method}`: {reason}." for method, reason in reasons.items())]


def _require_mergekit(python: str) -> None:
    code = "from importlib.metadata import version; print(version('mergekit'))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True)
    if found.stdout.strip() != VERSION:
        have = found.stdout.strip() or "none"
        sys.exit(
            f"{python} has mergekit {have}, {VERSION} is needed: make a virtual environment, "
            f"`pip install mergekit=={VERSION}` there, and give its python as --mergekit-python"
        )


def _compare_all(dtype: str, folder: Path, python: str) -> Iterator[list[str]]:
    family = _family(dtype, folder)
    arguments: list[str] = []
    for number, recipe in enumerate(RECIPES):
        file = folder / f"{number}.yaml"
        text = mergekit_yaml(recipe, family.paths, family.names, family.n_layers, dtype)
        file.write_text(text, encoding="utf-8")
        arguments += [str(file), str(folder / f"mergekit-{number}")]
    run = subprocess.run(
        [python, "-c", _RUN_ALL, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    if run.returncode:
        sys.exit(f"mergekit failed:\n{run.stderr[-3000:]}")
    for number, recipe in enumerate(RECIPES):
        merged = family.plan(recipe)
        out = folder / f"ours-{number}"
        write_export(merged, family.sources, family.base, out)
        theirs = load_file(folder / f"mergekit-{number}" / "model.safetensors")
        first, *rest = (folder / f"{number}.yaml").read_text("utf-8").splitlines()
        method = next(x.split()[1] for x in rest if x.startswith("merge_method"))
        ours = load_file(out / "model.safetensors")
        yield [method, first.removeprefix("# "), *_differences(family, merged, ours, theirs)]


def _differences(
    family: FittedFamily,
    merged: Plan,
    ours: dict[str, torch.Tensor],
    theirs: dict[str, torch.Tensor],
) -> list[str]:
    """How many tensors are equal, which share of the elements is not, and by how much at most."""
    assert set(ours) == set(theirs) == set(merged)
    apart = {
        name: (ours[name].double() - theirs[name].double()).abs()
        / _ulp([family.sources[source].read(name) for source in mix.sources])
        for name, mix in merged.items()
    }
    same = sum(not bool(distance.any()) for distance in apart.values())
    other = sum(int((distance != 0).sum()) for distance in apart.values())
    total = sum(distance.numel() for distance in apart.values())
    most = max(float(distance.max()) for distance in apart.values())
    return [
        f"{same} of {len(merged)}",
        f"{100 * other / total:.2g}%" if other else "0",
        f"{most:.4g}",
    ]


def _ulp(sources: list[torch.Tensor]) -> torch.Tensor:
    """Distance between neighbouring numbers at each element's largest source (float64)."""
    largest = torch.stack([tensor.double().abs() for tensor in sources]).amax(0)
    info = torch.finfo(sources[0].dtype)
    return 2 ** (torch.frexp(largest.clamp(min=info.tiny)).exponent.double() - 1) * info.eps


def _family(dtype: str, folder: Path) -> FittedFamily:
    """The demo family, or copies with noise in another dtype."""
    sources = Family(**compose.load([], {"lang": "te"}).family.model_dump()).sources("te")
    folder.mkdir()
    for number, (source, path) in enumerate(sources.items()):
        random = torch.Generator().manual_seed(number)
        sources[source] = folder / source.replace("/", "-")
        shutil.copytree(path, sources[source])
        if dtype == "BF16":
            continue
        weights = sources[source] / "model.safetensors"
        tensors = {
            name: (t.float() + 1e-4 * torch.randn(t.shape, generator=random)).to(DTYPES[dtype])
            for name, t in load_file(weights).items()
        }
        save_file(tensors, weights, metadata={"format": "pt"})
    return fit(sources)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mergekit-python", default=sys.executable, help="a Python with mergekit")
    print("\n".join(main(parser.parse_args().mergekit_python)))
