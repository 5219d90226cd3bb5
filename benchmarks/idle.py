"""What reproducibility costs: how long engines wait for an earlier trial's end.

    python -m benchmarks.idle [--trials 100] [--seeds 200]

With a lag of k (`search.study.schedule.Schedule.lag`) proposal i waits for the trials up to i - k.
A simulated clock hands trials to engines; their times are log-normal around one, with the spreads
given below. Printed is how much longer a study takes than with engines that never wait.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
from collections.abc import Sequence

ENGINES = (2, 4, 8)
SPREADS = (0.05, 0.2, 0.5)
"""Standard deviation of the logarithm of a trial's time: the demo's trials have some 0.2."""


def makespan(times: Sequence[float], engines: int, lag: int) -> float:
    """When the last of these trials ends; proposal i waits for those up to i - lag, 0: for none."""
    free = [0.0] * engines
    ends: list[float] = []
    known = 0.0  # when the trials up to i - lag have ended
    for number, seconds in enumerate(times):
        if lag and number >= lag:
            known = max(known, ends[number - lag])
        start = max(heapq.heappop(free), known)
        ends.append(start + seconds)
        heapq.heappush(free, start + seconds)
    return max(ends)


def main(trials: int = 100, seeds: int = 200) -> list[str]:
    """A Markdown table: engines and spread against the lag in multiples of the engines."""
    lags = (1, 2, 3)
    rows = [
        "| engines | spread of a trial's time | "
        + " | ".join(f"lag {m} x engines" for m in lags)
        + " |",
        "| ---: | ---: | " + " | ".join("---:" for _ in lags) + " |",
    ]
    for engines in ENGINES:
        for spread in SPREADS:
            longer = []
            for multiple in lags:
                found = []
                for seed in range(seeds):
                    rng = random.Random(seed)
                    times = [rng.lognormvariate(0.0, spread) for _ in range(trials)]
                    free = makespan(times, engines, 0)
                    found.append(100 * (makespan(times, engines, multiple * engines) / free - 1))
                ends = statistics.quantiles(found, n=40)
                longer.append(f"+{statistics.mean(found):.1f}% ({ends[0]:.1f} to {ends[-1]:.1f})")
            rows.append(f"| {engines} | {spread:g} | " + " | ".join(longer) + " |")
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=200)
    print("\n".join(main(**vars(parser.parse_args()))))
