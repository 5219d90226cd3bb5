"""When task arithmetic is an average, and its sum."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from objectives.types import Decoding
from search.merging.arithmetic import combine
from search.merging.methods.common import Average
from search.merging.methods.method import Recipe
from search.merging.methods.single import Single
from search.merging.methods.task_arithmetic import METHOD, TaskArithmetic
from search.merging.mix import Mix, Term

L = 4
PAIR = ("task/0", "lang/1")


@pytest.mark.parametrize(
    ("recipe", "form"),
    [
        (TaskArithmetic(PAIR, (0.0, 0.0)), Single("base")),
        (TaskArithmetic(PAIR[::-1], (0.25, 0.75)), Average(PAIR, (0.75, 0.25))),
        (TaskArithmetic(PAIR, (1.5, -0.5)), TaskArithmetic(PAIR, (1.5, -0.5))),
        (TaskArithmetic(PAIR, (1, 1)), TaskArithmetic(PAIR, (1.0, 1.0))),
    ],
)
def test_one_step(recipe: TaskArithmetic, form: Recipe) -> None:
    """Where it stays or which kind it is handed on to; the decoding goes along."""
    assert METHOD.canonical(recipe, L) == form
    warm = Decoding(temperature=0.7)
    assert METHOD.canonical(replace(recipe, decoding=warm), L) == replace(form, decoding=warm)


def test_on_paper() -> None:
    mix = METHOD.mix(TaskArithmetic(PAIR, (0.5, -1.0)), None, L)
    assert mix == Mix("task_arithmetic", (Term("task/0", 0.5), Term("lang/1", -1.0)))
    tensors = {
        "base": torch.tensor([1.0, 2.0]),
        "task/0": torch.tensor([3.0, 2.0]),
        "lang/1": torch.tensor([1.0, 5.0]),
    }
    assert combine(mix, tensors, "x").tolist() == [2.0, -1.0]
