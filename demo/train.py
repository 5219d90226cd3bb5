"""Training: packing documents into rows, the loss, and the base model's run.

Owns optimisation. Knows nothing of what the documents say. Runs are deterministic on one machine
for a fixed seed and number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from demo.model import Shape, State, TinyLlama
from demo.tokenizer import BOS_ID, EOS_ID
from demo.world import Document, Mix, documents

LENGTH = 168
"""Tokens in a training row; no document of the world is longer."""
PROMPT_WEIGHT = 0.25
"""Loss weight of a prompt's tokens; an answer's have 1."""
OPEN_ROWS = 64

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
Batch = tuple[Tensor, Tensor, Tensor]
"""Inputs, targets and weights of the targets, each [rows, LENGTH]."""


@dataclass(frozen=True)
class Rows:
    """Packed documents: token ids and their weights as targets, both [rows, LENGTH + 1]."""

    ids: Tensor
    weights: Tensor


def pack(tokenizer: Tokenizer, docs: Sequence[Document]) -> Rows:
    """Packs whole documents into rows, each into the fullest open row that has room."""
    prompts = tokenizer.encode_batch_fast([d.prompt for d in docs], add_special_tokens=False)
    answers = tokenizer.encode_batch_fast([d.answer for d in docs], add_special_tokens=False)
    closed: list[tuple[list[int], list[float]]] = []
    opened: list[tuple[list[int], list[float]]] = []
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = [BOS_ID, *prompt.ids, *answer.ids, EOS_ID]
        if len(ids) > LENGTH + 1:
            continue
        weights = [0.0] + [PROMPT_WEIGHT] * len(prompt.ids) + [1.0] * (len(answer.ids) + 1)
        room = LENGTH + 1 - len(ids)
        fitting = [i for i, row in enumerate(opened) if len(row[0]) <= room]
        if fitting:
            best = max(fitting, key=lambda i: len(opened[i][0]))
            opened[best][0].extend(ids)
            opened[best][1].extend(weights)
            if len(opened[best][0]) > LENGTH - 12:
                closed.append(opened.pop(best))
        else:
            opened.append((ids, weights))
        if len(opened) > OPEN_ROWS:
            closed.append(opened.pop(max(range(len(opened)), key=lambda i: len(opened[i][0]))))
    all_ids = torch.zeros(len(closed), LENGTH + 1, dtype=torch.int16)
    all_weights = torch.zeros(len(closed), LENGTH + 1)
    for i, (ids, weights) in enumerate(closed):
        all_ids[i, : len(ids)] = torch.tensor(ids, dtype=torch.int16)
        all_weights[i, : len(weights)] = torch.tensor(weights)
    return Rows(all_ids, all_weights)


def batches(tokenizer: Tokenizer, mix: Mix, seed: int, size: int, chunk: int) -> Iterator[Batch]:
    """Endless batches (inputs, targets, weights), each [size, LENGTH], of ever new documents.

    Documents are made and packed `chunk` at a time.
    """
    generator = torch.Generator().manual_seed(seed)
    part = 0
    while True:
        rows = pack(tokenizer, documents(mix, chunk, seed * 100_003 + part))
        order = torch.randperm(len(rows.ids), generator=generator)
        for i in range(0, len(order) - size + 1, size):
            ids = rows.ids[order[i : i + size]].long()
            weights = rows.weights[order[i : i + size]]
            yield ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), weights[:, 1:].contiguous()
        part += 1


def compiled_loss(model: TinyLlama) -> Loss:
    """Weighted cross-entropy of a model, in bfloat16 autocast, compiled."""

    def loss(inputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(inputs)
        flat = logits.float().view(-1, logits.shape[-1])
        each = F.cross_entropy(flat, targets.reshape(-1), reduction="none")
        return (each * weights.reshape(-1)).sum() / weights.sum()

    compiled: Loss = torch.compile(loss)
    return compiled


def prepare(threads: int, seed: int) -> None:
    """Fixes everything that a run's result depends on."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)


@dataclass(frozen=True)
class BaseRun:
    """One stage of a base model's training, with an optimiser of its own.

    The rate rises for `warmup` steps, and falls as a cosine that would end at step `horizon`.
    """

    seed: int
    steps: int
    horizon: int
    batch: int = 32
    rate: float = 3e-3
    warmup: int = 150
    decay: float = 0.1
    threads: int = 2
    chunk: int = 20000

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.horizon))
        return self.rate * min(1.0, (step + 1) / self.warmup) * (0.02 + 0.98 * cosine)


def train_base(
    run: BaseRun,
    shape: Shape,
    tokenizer: Tokenizer,
    mix: Mix,
    log: Callable[[str], None],
    start: State | None = None,
) -> State:
    """Trains a base model, from scratch or from the state that an earlier stage left."""
    prepare(run.threads, run.seed)
    model = TinyLlama(shape)
    if start is not None:
        model.load_state_dict(start)
    loss_of = compiled_loss(model)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": run.decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=run.rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    began, total = time.monotonic(), 0.0
    source = batches(tokenizer, mix, run.seed, run.batch, run.chunk)
    for step in range(run.steps):
        for group in optimizer.param_groups:
            group["lr"] = run.rate_at(step)
        loss = loss_of(*next(source))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total += loss.item()
        if (step + 1) % 100 == 0:
            spent = time.monotonic() - began
            speed = (step + 1) * run.batch * LENGTH / spent
            log(f"base step {step + 1} loss {total / 100:.4f} {speed:.0f} tokens/s {spent:.0f} s")
            total = 0.0
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def save_state(state: State, path: Path) -> None:
    """Keeps a float32 state between stages."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)


def load_state(path: Path) -> State:
    """Reads what `save_state` wrote."""
    state: State = torch.load(path, weights_only=True)
    return state
