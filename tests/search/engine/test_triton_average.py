"""The kernel of averages, on the CPU: its bits by Triton's interpreter, its code by its compiler.

The interpreter (3.6 and 3.7) rounds to bfloat16 towards zero and a fused multiply-add twice; here
both do as the GPU's instructions of these names, which are looked for in the compiled code.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from search.checkpoints.checkpoint import Checkpoint
from search.engine import average as use
from search.engine.experts import ExpertTensors
from search.engine.writer import DirectWriter
from search.merging.blocks import fused_sum
from tests.search.engine.checkpoints import checkpoints
from tests.search.engine.test_device_writer import MIXES, SHAPES, same, staged, written

pytest.importorskip("triton", reason="Triton is in the CUDA lock alone: it takes 690 MB")

pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")
MODULE = "search.engine.triton_average"
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, interpreted."""
    from triton.language import bfloat16
    from triton.runtime import interpreter

    fmaf = ctypes.CDLL(ctypes.util.find_library("m")).fmaf
    fmaf.restype, fmaf.argtypes = ctypes.c_float, [ctypes.c_float] * 3
    fused = np.vectorize(fmaf, otypes=[np.float32])

    def create_fma(_: Any, x: Any, y: Any, z: Any) -> Any:
        return interpreter.TensorHandle(fused(x.data, y.data, z.data), z.dtype.scalar)

    def convert(data: Any, source: Any, goal: Any, rounding: Any) -> Any:
        if goal == bfloat16:
            rounded = torch.from_numpy(np.ascontiguousarray(data)).bfloat16()
            return rounded.view(torch.int16).numpy().view(np.uint16)
        return (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_fma", create_fma)
    monkeypatch.setattr(interpreter, "_convert_float", convert)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    yield _fresh(monkeypatch)
    sys.modules.pop(MODULE, None)


def _fresh(patch: pytest.MonkeyPatch) -> Any:
    patch.delitem(sys.modules, MODULE, raising=False)
    return import_module(MODULE)


def sources(count: int, numel: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """Of all magnitudes: denormal, normal, and so large that sums overflow; with both zeros."""
    random = torch.Generator().manual_seed(count * numel)
    scales = torch.tensor([1.0, 3e-2, 3e-6, 1e-40, 6e4, 3e38, 0.0])
    values = torch.randn(count, numel, generator=random)
    return list((values * scales[torch.arange(numel) % len(scales)]).to(dtype))


def reference(parts: list[torch.Tensor], shares: list[float]) -> torch.Tensor:
    return fused_sum([part.float() for part in parts], shares).to(parts[0].dtype)


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """But for those of NaN, which processors choose as they like."""
    whole = torch.int32 if one.dtype == torch.float32 else torch.int16
    nan = one.isnan() & other.isnan()
    return bool(((one.view(whole) == other.view(whole)) | nan).all())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", range(1, 10))
@pytest.mark.parametrize("numel", [1, 1001, 2048, 4099])
def test_averages_have_the_references_bits(kernel: Any, dtype: str, count: int, numel: int) -> None:
    parts = sources(count, numel, DTYPES[dtype])
    shares = [round(0.9 / (i + 1), 3) for i in range(count)]
    if count > 2:
        shares[1] = 0.0
        parts[0][0], parts[1][-1] = float("nan"), float("inf")
    target = torch.full((numel,), 7.0, dtype=DTYPES[dtype])
    assert kernel.average(parts, shares, target)
    assert same_bits(target, reference(parts, shares))
    assert count < 3 or target.isnan().any()


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((77,), (1,), 13),
        ((7, 11), (40, 1), 5),
        ((7, 11), (1, 9), 3),
        ((7, 11), (3, 50), 0),
        ((3, 5, 7), (200, 20, 2), 1),
        ((3, 1, 7), (7, 99, 1), 2),
        ((1, 9), (5, 4), 0),
        ((), (), 6),
    ],
)
def test_slices_of_any_strides_are_written(
    kernel: Any, size: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> None:
    """And nothing around them; the sources begin anywhere."""
    where = torch.full((1000,), 7.0, dtype=torch.float32), torch.full((1000,), 7.0)
    found, expected = (each.as_strided(size, stride, offset) for each in where)
    parts = [part[3:] for part in sources(3, found.numel() + 3, torch.bfloat16)]
    assert kernel.average(parts, [0.3, 0.3, 0.4], found)
    expected.copy_(reference(parts, [0.3, 0.3, 0.4]).view(size))
    assert same_bits(*where)


def test_more_strides_than_it_knows_are_left_to_torch(kernel: Any) -> None:
    target = torch.full((64,), 7.0).as_strided((2, 2, 2, 2), (30, 14, 6, 2), 0)
    assert not kernel.average([torch.ones(16)] * 2, [0.5, 0.5], target)
    assert (target == 7).all()
    assert kernel.joined(torch.empty(2, 3, 4, 5)) == [(120, 1)]
    assert kernel.joined(torch.empty(300).as_strided((3, 1, 7), (7, 99, 1))) == [(21, 1)]


@pytest.mark.parametrize("name", ["average", "soup"])
def test_a_rewrite_by_the_kernel_is_the_cpus(
    kernel: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the rings, from a tier, into slices of a rank's parameters."""
    monkeypatch.setattr(use, "DEVICES", ("cpu",))
    use.kernel_for.cache_clear()
    calls: list[int] = []

    def counted(*args: Any) -> bool:
        calls.append(1)
        return bool(average(*args))

    average = kernel.average
    monkeypatch.setattr(kernel, "average", counted)
    experts: Mapping[str, Checkpoint] = checkpoints(tmp_path, SHAPES)
    mixes = dict.fromkeys(SHAPES, MIXES[name])
    host = DirectWriter(ExpertTensors(experts, torch.device("cpu")))
    for budget in (0, 10**6):
        writer = staged(experts, device_bytes=budget)
        before = len(calls)
        for _ in range(2):
            assert same(written(writer, mixes), written(host, mixes))
        assert len(calls) >= before + 2 * len(SHAPES)
        writer.close()
    use.kernel_for.cache_clear()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("capability", "plain"), [(80, True), (90, True), (90, False)])
def test_the_compiled_code_rounds_as_the_reference_does(
    dtype: str, capability: int, plain: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU: one product, then fused ones, denormals kept; each source is read once."""
    from triton import compile as compiled
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    count, each = 3, 2048 // 128
    pointer = f"*{dtype}"
    types = {"sources": (pointer,) * count, "coefficients": ("fp32",) * count, "out": pointer}
    types |= dict.fromkeys(("count", "size_1", "size_2"), "i32")
    types |= dict.fromkeys(("stride_0", "stride_1", "stride_2"), "i32")
    fixed = {"PLAIN": plain, "BLOCK": 2048}
    source = ASTSource(
        _fresh(monkeypatch)._kernel,
        signature=types | dict.fromkeys(fixed, "constexpr"),
        constexprs=fixed,
        attrs={},
    )
    code = compiled(source, GPUTarget("cuda", capability, 32), {"enable_fp_fusion": False})
    found = Counter(
        re.findall(r"\s((?:mul|fma|add)[\w.]*f32|cvt[\w.]+|(?:ld|st)\.global)\b", code.asm["ptx"])
    )
    wanted = {"mul.rn.f32": each, "fma.rn.f32": (count - 1) * each}
    wanted |= {"ld.global": count * each, "st.global": each}
    if dtype != "fp32":
        short = dtype.replace("fp", "f")
        wanted |= {f"cvt.f32.{short}": count * each, f"cvt.rn.{short}.f32": each}
    assert found == wanted
    sys.modules.pop(MODULE, None)
