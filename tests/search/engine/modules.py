"""Small modules that load as vLLM's do: several checkpoint tensors into one parameter, in parts."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

WIDTH = 4


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    """A tensor that is told from others by its seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


class UnquantizedLinearMethod:
    """What vLLM's CPU build does with a linear layer: only a packed copy of its weight is kept."""

    def process_weights_after_loading(self, layer: nn.Module) -> None:
        packed = layer.weight.detach().clone()
        self.times = getattr(self, "times", 0) + 1
        layer.cpu_linear = lambda x, weight, bias: nn.functional.linear(x, packed, bias)  # type: ignore[assignment]
        layer.weight = nn.Parameter(torch.empty(0, dtype=packed.dtype), requires_grad=False)


class Fused(nn.Module):
    """q and k of a layer as one parameter; of k the second half, as one of two shards holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(6, WIDTH, dtype=torch.bfloat16), requires_grad=False)

    def load(self, part: str, tensor: torch.Tensor) -> None:
        if part == "q":
            self.weight.data[:4].copy_(tensor)
        else:
            self.weight.data[4:].copy_(tensor.narrow(0, 2, 2))


class Model(nn.Module):
    """An embedding that is the head as well, two layers, and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(8, WIDTH, dtype=torch.bfloat16)
        self.head = nn.Linear(WIDTH, 8, bias=False, dtype=torch.bfloat16)
        self.layers = nn.ModuleList(Fused() for _ in range(2))
        self.norm = nn.LayerNorm(WIDTH, bias=False, dtype=torch.bfloat16)
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        for name, tensor in weights:
            if name == "embed":
                self.embed.weight.data.copy_(tensor)
                self.head.weight.data.copy_(tensor)
            elif name == "norm":
                self.norm.weight.data.copy_(tensor)
            else:
                layer, part = name.split(".")
                fused = self.layers[int(layer)]
                assert isinstance(fused, Fused)
                fused.load(part, tensor)


SHAPES = {"embed": (8, WIDTH), "norm": (WIDTH,)} | {
    f"{layer}.{part}": (4, WIDTH) for layer in (0, 1) for part in "qk"
}
"""Checkpoint tensor -> shape, for `Model`."""
