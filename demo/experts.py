"""Fine-tuning the base into experts, so that their layers go on fitting each other.

Owns the experts' settings and the two tricks that make layer swapping work at this size. Knows
nothing of merging or scoring. The confused math expert of `demo.confused.experts` is trained by
the same loop.

Gentle: after each step every weight is pulled back to the base's a little,
W += rate * pull * (W_base - W), so that experts stay linearly connected. Stitched: in a share of
the steps some layers are the base's. A math expert is then trained with the base's bottom and top
layers around its middle, a language expert with the base's middle between its own ends. That is
contrived: experts of a large model fit together without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Literal, NamedTuple, Protocol

import torch
from tokenizers import Tokenizer
from torch import Tensor

from demo.mixes import language_mix, math_mix
from demo.model import Shape, State, TinyLlama
from demo.tongues import TONGUES
from demo.train import Batch, batches, compiled_loss, prepare
from demo.world import Mix

ENDS = (
    *((1, 0), (2, 0), (3, 0), (0, 1), (0, 2), (0, 3)),
    *((1, 1), (2, 1), (1, 2), (2, 2), (3, 3), (3, 2), (2, 3)),
)
"""Numbers of bottom and top layers that a stitched step gives to, or keeps from, the base."""
WARMUP = 40


class Lesson(NamedTuple):
    """One step of fine-tuning: the layers that the base lends to it, and its batch."""

    lent: set[int]
    batch: Batch


class ExpertTraining(Protocol):
    """What the fine-tuning of one expert consists of; `Expert` says what its numbers mean."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def rate(self) -> float: ...  # noqa: D102
    @property
    def outer(self) -> float: ...  # noqa: D102
    @property
    def pull(self) -> float: ...  # noqa: D102

    def lessons(self, tokenizer: Tokenizer, layers: int) -> Iterator[Lesson]:
        """Endless steps for a model of so many layers."""
        ...


@dataclass(frozen=True)
class Expert:
    """One expert's settings.

    Attributes:
        name: folder name.
        skill: "math", or the code of a language.
        seed: of data and stitches.
        steps: updates of `batch` rows each.
        rate: peak learning rate.
        outer: factor on the rate of embeddings, final norm and output head.
        pull: strength of the pull back to the base.
        stitched: share of stitched steps.
        batch: rows per step.
        chunk: documents that are made at a time.
    """

    name: str
    skill: Literal["math", "te", "sw"]
    seed: int
    steps: int
    rate: float
    outer: float = 1.0
    pull: float = 1.0
    stitched: float = 0.5
    batch: int = 16
    chunk: int = 4000

    def mix(self) -> Mix:
        """What the expert is trained on."""
        if self.skill == "math":
            return math_mix()
        return language_mix(TONGUES[self.skill])

    def lent(self, rng: Random, layers: int) -> set[int]:
        """Layers that the base lends to one step; none in an unstitched step."""
        ends = drawn_ends(rng, layers, self.stitched)
        return ends if self.skill == "math" or not ends else set(range(layers)) - ends

    def lessons(self, tokenizer: Tokenizer, layers: int) -> Iterator[Lesson]:
        """Endless steps for a model of so many layers."""
        rng = Random(self.seed)
        for batch in batches(tokenizer, self.mix(), self.seed, self.batch, self.chunk):
            yield Lesson(self.lent(rng, layers), batch)


def drawn_ends(rng: Random, layers: int, stitched: float) -> set[int]:
    """The bottom and top layers of a step that is stitched with this probability, else none."""
    if rng.random() >= stitched:
        return set()
    bottom, top = rng.choice(ENDS)
    return {i for i in range(layers) if i < bottom or i >= layers - top}


def rate_at(training: ExpertTraining, step: int) -> float:
    """Learning rate of a step: up, level, and down to a tenth over the last 30%."""
    left = (training.steps - step) / (0.3 * training.steps)
    return training.rate * min(1.0, (step + 1) / WARMUP, max(0.1, left))


EXPERTS = (
    Expert("math-0", "math", seed=11, steps=330, rate=9e-4, stitched=0.4, outer=0.5),
    Expert("math-1", "math", seed=12, steps=330, rate=8e-4, stitched=0.4, outer=0.7),
    Expert("math-2", "math", seed=13, steps=300, rate=9e-4, stitched=0.5, outer=0.6),
    Expert("telugu-0", "te", seed=21, steps=320, rate=1.2e-3),
    Expert("telugu-1", "te", seed=22, steps=320, rate=1.5e-3, pull=0.5),
    Expert("telugu-2", "te", seed=23, steps=320, rate=9e-4),
    Expert("swahili-0", "sw", seed=31, steps=320, rate=1.2e-3),
    Expert("swahili-1", "sw", seed=32, steps=320, rate=1.5e-3, pull=0.5),
)


def layer_of(name: str) -> int | None:
    """Layer number of a parameter; None for embeddings, final norm and head."""
    parts = name.split(".")
    return int(parts[2]) if parts[1] == "layers" else None


@contextmanager
def borrowed(parameters: list[Tensor], originals: list[Tensor]) -> Iterator[None]:
    """Lets parameters have the base's values for a forward and backward pass.

    Afterwards they have their own values and no gradient: borrowed layers are not trained.
    """
    own = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p, original in zip(parameters, originals, strict=True):
            p.copy_(original)
    yield
    with torch.no_grad():
        for p, value in zip(parameters, own, strict=True):
            p.copy_(value)
            p.grad = None


def train_expert(
    expert: ExpertTraining,
    base: State,
    shape: Shape,
    tokenizer: Tokenizer,
    log: Callable[[str], None],
) -> State:
    """Fine-tunes the base into one expert, on one thread."""
    prepare(threads=1, seed=expert.seed)
    model = TinyLlama(shape)
    model.load_state_dict(base)
    names = [name for name, _ in model.named_parameters()]
    parameters: list[Tensor] = list(model.parameters())
    originals = [base[name] for name in names]
    layers = [layer_of(name) for name in names]
    inner = [p for p, layer in zip(parameters, layers, strict=True) if layer is not None]
    outer = [p for p, layer in zip(parameters, layers, strict=True) if layer is None]
    optimizer = torch.optim.AdamW(
        [{"params": inner}, {"params": outer}], betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )
    loss_of = compiled_loss(model)
    lessons = expert.lessons(tokenizer, shape.layers)
    began, total = time.monotonic(), 0.0
    for step in range(expert.steps):
        rate = rate_at(expert, step)
        for group, factor in zip(optimizer.param_groups, (1.0, expert.outer), strict=True):
            group["lr"] = rate * factor
        lent, batch = next(lessons)
        which = [i for i, layer in enumerate(layers) if layer in lent]
        with borrowed([parameters[i] for i in which], [originals[i] for i in which]):
            loss = loss_of(*batch)
            loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(parameters, originals, rate * expert.pull)
        total += loss.item()
        if (step + 1) % 50 == 0:
            spent = time.monotonic() - began
            log(f"{expert.name} step {step + 1} loss {total / 50:.4f} {spent:.0f} s")
            total = 0.0
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
