"""What can be wrong with a number, as tables."""

from __future__ import annotations

import pytest

from search.merging.methods import faults

INF = float("inf")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (faults.count_faults([("b", 0), ("u", 3)]), []),
        (faults.count_faults([("b", True)]), ["b = True must be a whole number >= 0"]),
        (faults.count_faults([("b", -1), ("u", 1.0)]),
         ["b = -1 must be a whole number >= 0", "u = 1.0 must be a whole number >= 0"]),
        (faults.weight_faults({"x": 0.0, "y": 1.0}), []),
        (faults.weight_faults({"x": 0.0, "y": 0.0}),
         ["x, y: all are 0, the average would be undefined"]),
        (faults.weight_faults({"x": -1.0, "y": INF}),
         ["x = -1.0 must be finite and >= 0", "y = inf must be finite and >= 0"]),
        (faults.weight_faults({"x": 1e308, "y": 1e308}), ["x + y = 1e+308 + 1e+308 is not finite"]),
        (faults.finite_faults({"scale": -2.0}), []),
        (faults.finite_faults({"scale": INF}), ["scale = inf must be finite"]),
        (faults.density_faults(1.0), []),
        (faults.density_faults(0.0), ["density = 0.0 is not in (0, 1]"]),
        (faults.weighted_faults(("task/0",), (1.0,)), []),
        (faults.weighted_faults(("task/0", "base"), (1.0,)),
         ["'base' is not task/<i> or lang/<i>", "1 weight or scale for 2 experts"]),
        (faults.scaled_faults(("task/0", "task/0"), (1.0, -1.0)),
         ["experts = ('task/0', 'task/0') must name one expert or several, each once"]),
    ],
)  # fmt: skip
def test_faults(found: list[str], expected: list[str]) -> None:
    assert found == expected
