"""The study on Ray Tune: runs the trials, ends in order.

Owns how a study is put together and what a signal does to it. Ray's set-up is
`search.study.tuning.engines`'s, Optuna's `search.study.proposing.optuna_study`'s. What is proposed
when is `search.study.order`'s; what a trial does is `search.study.tuning.trainable`'s. Knows
nothing of MLflow, figures or terminals.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from search.common.ending import ENDING
from search.merging.recipe import Recipe
from search.merging.space.contract import MainSpace
from search.merging.space.rivals import RivalSpace
from search.records.writer import RecordsWriter
from search.study.dispatcher import Dispatcher, Listener
from search.study.order import Order, no_threshold
from search.study.proposing.optuna_study import phase
from search.study.race import Rules
from search.study.schedule import Schedule
from search.study.thresholds import Thresholds
from search.study.tuning.engines import Engines
from search.study.tuning.watch import TellEngines, Watch, ignore_states

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_study(
    schedule: Schedule,
    *,
    engines: Engines,
    space: MainSpace,
    records: RecordsWriter,
    baselines: Sequence[Recipe],
    final: Callable[[], Iterable[Recipe]],
    listeners: Iterable[Listener],
    race: Rules | None = None,
    tell: TellEngines = ignore_states,
) -> bool:
    """Run or go on with a study until its final table's recipes are scored.

    Args:
        schedule: how it runs.
        engines: what it runs on; they have its job.
        space: what is searched.
        records: the study's folder, opened; ended trials in it are not run again.
        baselines: scored on the search items before the first proposal.
        final: called when the search is over: the recipes to score on the held-out items.
        listeners: told of every start, end and repetition.
        race: when a trial is stopped early; None: each is scored in full.
        tell: told about once a second how many engines are in each state.

    Returns:
        Whether it came to its end; False after Ctrl-C or SIGTERM, when the records hold what was
        done. A second signal ends the process at once.

    Raises:
        ConfigError: no node has room for one engine.
        StudyError: trials fail one after another, no node is left for them, or the disk refuses;
            the study can be resumed.
    """
    phases = [phase(schedule, "search", schedule.trials, space, records, baselines)]
    for method, trials in schedule.baselines.items():
        if not trials:
            continue
        rival = RivalSpace(method, space.lang, space.n_layers, space.pairs, space.seen)
        phases.append(phase(schedule, method, trials, rival, records, ()))
    watch = engines.begin(schedule, tell)
    heard = list(listeners)

    def repeated() -> None:
        for listener in heard:
            listener.repeated()

    order = Order(
        phases,
        records.trials,
        space.n_layers,
        final,
        lag=schedule.lag,
        repeated=repeated,
        threshold=Thresholds(records.items, race, schedule.tolerance, space.lang).of
        if race
        else no_threshold,
    )
    dispatcher = Dispatcher(order, records, watch, heard, lang=space.lang, n_layers=space.n_layers)
    with signals_put_back():
        engines.start()
        _listen(watch)  # now, because Ray has set a handler for SIGTERM that aborts
        engines.run(dispatcher)
    fault = dispatcher.fault or watch.fault
    if fault:
        raise fault
    return dispatcher.finished


@contextmanager
def signals_put_back() -> Iterator[None]:
    """What is done at Ctrl-C and SIGTERM stays as it was, whatever is done within."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(watch: Watch) -> None:
    """Ctrl-C, and SIGTERM as schedulers and `ray job stop` send it, end the study in order.

    So does the first of them where a fault is ending it already.
    """

    def stop(number: int, frame: object) -> None:
        if ENDING.is_set():
            os._exit(128 + number)  # Ray's processes and the engines end with this one
        watch.stop()
        ENDING.set()

    ENDING.clear()
    for number in SIGNALS:
        signal.signal(number, stop)
