"""Fine-tuning of a checkpoint into an expert: a plain loop, all weights, minutes on two cores.

Owns the settings, how a document becomes tokens, and the optimisation. Knows nothing of what the
documents say. Deterministic on one machine for a fixed seed and number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from demo.world import Document, Mix, documents

IGNORED = -100  # target of a position that is not scored
THREADS = 2


@dataclass(frozen=True)
class Expert:
    """One expert's settings.

    Attributes:
        name: folder name.
        mix: key of `lessons.MIXES`.
        seed: of the documents and their order.
        rate: peak learning rate; it rises over 10% of the steps and falls as a cosine to zero.
        steps: updates.
        batch: documents an update.
    """

    name: str
    mix: str
    seed: int
    rate: float
    steps: int
    batch: int = 6

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        warmup = max(1, self.steps // 10)
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.rate * min((step + 1) / warmup, cosine)


EXPERTS = (
    Expert("math-0", "math", seed=11, rate=1e-4, steps=80),
    Expert("sw-0", "sw", seed=21, rate=3e-4, steps=100),
)


def encode(tokenizer: Any, document: Document, chat: bool) -> tuple[list[int], int]:
    """A document as token ids, and how many of them are the prompt.

    As a conversation by the model's chat template, or as prompt, space, answer. Both end with the
    end-of-sequence token, which is the template's own end of a turn.
    """
    if chat:
        turns = [{"role": "user", "content": document.prompt}]
        prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        answer = document.answer
    else:
        prompt, answer = document.prompt, f" {document.answer}"
    ids = tokenizer(prompt, add_special_tokens=False).input_ids
    rest = tokenizer(answer, add_special_tokens=False).input_ids
    return [*ids, *rest, tokenizer.eos_token_id], len(ids)


def batch_of(tokenizer: Any, docs: Sequence[Document], rng: Random) -> tuple[Tensor, Tensor]:
    """Ids and targets of documents, half of them as conversations; both int64 [len(docs), longest].

    Targets are the next tokens of the answers, `IGNORED` elsewhere.
    """
    encoded = [encode(tokenizer, document, rng.random() < 0.5) for document in docs]
    longest = max(len(ids) for ids, _ in encoded)
    inputs = torch.full((len(docs), longest), tokenizer.eos_token_id)
    targets = torch.full((len(docs), longest), IGNORED)
    for row, (ids, prompt) in enumerate(encoded):
        inputs[row, : len(ids)] = torch.tensor(ids)
        targets[row, prompt - 1 : len(ids) - 1] = torch.tensor(ids[prompt:])
    return inputs, targets


def batches(tokenizer: Any, expert: Expert, mix: Mix) -> Iterator[tuple[Tensor, Tensor]]:
    """One batch for each step."""
    docs = documents(mix, expert.steps * expert.batch, expert.seed)
    rng = Random(expert.seed)
    for start in range(0, len(docs), expert.batch):
        yield batch_of(tokenizer, docs[start : start + expert.batch], rng)


def finetune(
    expert: Expert, mix: Mix, base: Path, log: Callable[[str], None], folder: Path
) -> None:
    """Trains the checkpoint in `base` on a mix and writes the expert to `folder`, in bfloat16.

    Raises:
        ValueError: no weight differs from the base's after rounding.
    """
    torch.set_num_threads(THREADS)
    torch.manual_seed(expert.seed)
    from transformers import AutoModelForCausalLM, AutoTokenizer  # seconds of imports

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )
    model.train()
    began, total = time.monotonic(), 0.0
    for step, (inputs, targets) in enumerate(batches(tokenizer, expert, mix)):
        for group in optimizer.param_groups:
            group["lr"] = expert.rate_at(step)
        scored = targets != IGNORED
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = model.model(inputs).last_hidden_state
            logits = model.lm_head(hidden[scored])  # the answers' positions only
        loss = F.cross_entropy(logits.float(), targets[scored])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total += loss.item()
        if (step + 1) % 20 == 0:
            spent = time.monotonic() - began
            done = f"{expert.name} step {step + 1} of {expert.steps}"
            log(f"{done}: loss {total / 20:.3f}, {spent:.0f} s")
            total = 0.0
    model.to(torch.bfloat16)
    after = dict(model.named_parameters())
    changed = sum(
        int((after[name] != old.to(torch.bfloat16)).sum()) for name, old in before.items()
    )
    weights = sum(old.numel() for old in before.values())
    if not changed:
        raise ValueError(f"{expert.name}: no weight changed after rounding to bfloat16")
    log(f"{expert.name}: {changed / weights:.0%} of {weights / 1e6:.0f} M weights changed")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
