"""The demo's transformer: a Llama small enough to train on two cores.

Owns the architecture, its parameters' names (those of Hugging Face's `LlamaForCausalLM`, so that a
state dict is a checkpoint) and greedy generation in batches. Knows nothing of text or training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

State = dict[str, Tensor]


@dataclass(frozen=True)
class Shape:
    """Sizes of a model; `heads` share `kv_heads` key and value heads."""

    vocab: int
    hidden: int = 96
    layers: int = 10
    heads: int = 3
    kv_heads: int = 1
    mlp: int = 256
    context: int = 512
    theta: float = 10000.0
    eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., width]."""
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (wide * scale).to(x.dtype) * self.weight.to(x.dtype)


def rotary(shape: Shape) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each [context, head_dim], in the two-halves layout."""
    steps = torch.arange(0, shape.head_dim, 2).float() / shape.head_dim
    angles = torch.outer(torch.arange(shape.context).float(), shape.theta**-steps)
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns queries or keys, [batch, heads, length, head_dim], by their positions."""
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], -1)
    return (x * cos + turned * sin).to(x.dtype)


class Cache:
    """Keys and values of one layer, [batch, kv_heads, room, head_dim], filled from the left."""

    def __init__(self, shape: Shape, batch: int, room: int, dtype: torch.dtype) -> None:
        size = (batch, shape.kv_heads, room, shape.head_dim)
        self.keys, self.values = torch.zeros(size, dtype=dtype), torch.zeros(size, dtype=dtype)

    def put(self, keys: Tensor, values: Tensor, at: int) -> tuple[Tensor, Tensor]:
        """Stores new positions and returns all up to them."""
        end = at + keys.shape[2]
        self.keys[:, :, at:end], self.values[:, :, at:end] = keys, values
        return self.keys[:, :, :end], self.values[:, :, :end]


class Attention(nn.Module):
    """Causal self-attention with grouped key and value heads."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        wide, narrow = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden, wide, bias=False)
        self.k_proj = nn.Linear(shape.hidden, narrow, bias=False)
        self.v_proj = nn.Linear(shape.hidden, narrow, bias=False)
        self.o_proj = nn.Linear(wide, shape.hidden, bias=False)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, cache: Cache | None, at: int
    ) -> Tensor:
        """x: [batch, length, hidden]; mask: [batch, 1, length, keys], causal where None."""
        batch, length, _ = x.shape
        split = (batch, length, -1, self.shape.head_dim)
        q = rotate(self.q_proj(x).view(split).transpose(1, 2), cos, sin)
        k = rotate(self.k_proj(x).view(split).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(split).transpose(1, 2)
        if cache is not None:
            k, v = cache.put(k, v, at)
        if mask is None:
            mask = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        repeats = self.shape.heads // self.shape.kv_heads
        k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
        scores = q @ k.transpose(-1, -2) * self.shape.head_dim**-0.5
        shares = scores.float().masked_fill(~mask, -torch.inf).softmax(-1).to(v.dtype)
        y = (shares @ v).transpose(1, 2).reshape(batch, length, -1)
        out: Tensor = self.o_proj(y)
        return out


class MLP(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.mlp, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.mlp, bias=False)
        self.down_proj = nn.Linear(shape.mlp, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: [batch, length, hidden]."""
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Block(nn.Module):
    """One transformer layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden, shape.eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden, shape.eps)
        self.mlp = MLP(shape)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, cache: Cache | None, at: int
    ) -> Tensor:
        """See `Attention.forward`."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask, cache, at)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Decoder(nn.Module):
    """Embeddings, layers and final norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, shape.eps)


class TinyLlama(nn.Module):
    """The language model, with an output head of its own."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Decoder(shape)
        self.lm_head = nn.Linear(shape.hidden, shape.vocab, bias=False)
        cos, sin = rotary(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        """Normal weights; those that write into the residual stream start at half size."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                half = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, 0, parameter.shape[1] ** -0.5 * (0.5 if half else 1.0))
        nn.init.normal_(self.model.embed_tokens.weight, 0, 0.3)

    def _embed(self, ids: Tensor) -> Tensor:
        """Embeddings of token ids; in training as a product, whose gradient is deterministic."""
        if not self.training:
            looked_up: Tensor = self.model.embed_tokens(ids)
            return looked_up
        with torch.autocast("cpu", enabled=False):
            chosen = F.one_hot(ids, self.shape.vocab).float()
            return chosen @ self.model.embed_tokens.weight

    def forward(
        self,
        ids: Tensor,
        mask: Tensor | None = None,
        caches: Sequence[Cache] | None = None,
        at: int = 0,
    ) -> Tensor:
        """Logits [batch, length, vocab] of ids [batch, length] that start at position `at`."""
        x = self._embed(ids)
        cos, sin = self.cos[at : at + ids.shape[1]], self.sin[at : at + ids.shape[1]]
        for i, block in enumerate(self.model.layers):
            x = block(x, cos, sin, mask, None if caches is None else caches[i], at)
        out: Tensor = self.lm_head(self.model.norm(x))
        return out

    @torch.no_grad()
    def generate(self, prompts: Sequence[Sequence[int]], new: int, eos: int) -> list[list[int]]:
        """Greedy continuations, at most `new` tokens each, without the end-of-text token.

        Prompts are padded on the left; rotary positions are relative, so shifts are harmless.
        """
        batch, longest = len(prompts), max(map(len, prompts))
        ids = torch.full((batch, longest), eos)
        real = torch.ones(batch, longest + new, dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            real[row, : longest - len(prompt)] = False
        dtype = self.lm_head.weight.dtype
        caches = [Cache(self.shape, batch, longest + new, dtype) for _ in self.model.layers]
        causal = torch.ones(longest, longest, dtype=torch.bool).tril()
        mask = (real[:, None, None, :longest] & causal) | torch.eye(longest, dtype=torch.bool)
        logits = self(ids, mask, caches)
        written = torch.full((batch, new), eos)
        done = torch.zeros(batch, dtype=torch.bool)
        for step in range(new):
            chosen = logits[:, -1].argmax(-1).masked_fill(done, eos)
            written[:, step] = chosen
            done |= chosen == eos
            if step + 1 == new or bool(done.all()):
                break
            at = longest + step
            logits = self(chosen[:, None], real[:, None, None, : at + 1], caches, at)
        rows: list[list[int]] = written.tolist()
        return [row[: row.index(eos)] if eos in row else row for row in rows]
