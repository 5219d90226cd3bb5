"""Builds the demo family: `python -m demo.build`.

Owns the stages and their order: benchmark files, base, experts, model folders, table of scores,
hashes; then the second family's expert, on the base as it is shipped, and its hashes. Each
stage's result is kept in the work folder and not made again. Knows nothing of what the stages do.

    python -m demo.build                    all stages, into the package's own folder
    python -m demo.build --confused         only the second family, on the shipped base
    python -m demo.build --check            compare the shipped files with both SHA256SUMS
    python -m demo.build --evaluate         score the shipped weights and print the table
    python -m demo.build --smoke --out DIR  a few steps of everything, worth nothing, in seconds
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from demo import checkpoint, experts, table, testdata, tokenizer, train
from demo.confused.experts import EXPERTS as CONFUSED
from demo.evaluate import MAX_NEW
from demo.experts import ExpertTraining
from demo.mixes import base_mix
from demo.model import Shape, State

HERE = Path(__file__).resolve().parent
SUMS = "SHA256SUMS"
SHIPPED = ("data", "weights", "SCORES.md", "scores.json")
SECOND = "confused"
"""Folder of the second family beside the first one's files."""
SHAPE = Shape(vocab=-(-len(tokenizer.vocabulary()) // 8) * 8)
BASE = (
    (train.BaseRun(seed=1, steps=4000, horizon=7500), 0.04),
    (train.BaseRun(seed=2, steps=700, horizon=700, rate=1.4e-3, warmup=40), 0.01),
)
"""A long stage at a high rate, then a short one that brings the rate down; with each the share of
word problems whose numbers pass nine."""
LANGUAGES = (("te", "telugu", 3), ("sw", "swahili", 2))
"""Code, prefix of the experts' names, and how many layers at each end the table's search tries."""
MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "200000000",
}
"""glibc settings that keep freed memory: training takes 40% less time with them."""


@dataclass(frozen=True)
class Plan:
    """What a build makes: the full family, or a sketch of it."""

    base: tuple[tuple[train.BaseRun, float], ...]
    experts: tuple[ExpertTraining, ...]
    confused: tuple[ExpertTraining, ...]
    reach: int
    limit: int | None
    new: int

    @classmethod
    def full(cls) -> Plan:
        """The shipped family."""
        return cls(BASE, experts.EXPERTS, CONFUSED, reach=3, limit=None, new=MAX_NEW)

    @classmethod
    def smoke(cls) -> Plan:
        """A family of the same form after two steps each, on one thread: others may be busy."""
        chosen = [e for e in experts.EXPERTS if e.name.endswith("-0")]
        return cls(
            tuple(
                (replace(run, steps=2, batch=4, threads=1, chunk=1000), big) for run, big in BASE
            ),
            tuple(replace(e, steps=2, batch=4, chunk=1000) for e in chosen),
            tuple(replace(e, steps=2, batch=4, chunk=1000, habit=0.5) for e in CONFUSED),
            reach=0,
            limit=4,
            new=8,
        )


def log(message: str) -> None:
    """Prints one line with the time of day."""
    print(time.strftime("%H:%M:%S"), message, flush=True)


def make_base(plan: Plan, work: Path) -> State:
    """The base model, trained unless the work folder has it."""
    state = None
    for number, (run, big) in enumerate(plan.base, 1):
        last = number == len(plan.base)
        path = work / ("base.pt" if last else f"base-stage-{number}.pt")
        if not path.exists():
            made = train.train_base(run, SHAPE, tokenizer.build(), base_mix(big), log, state)
            train.save_state(made, path)
        state = train.load_state(path)
    assert state is not None
    return state


def make_expert(expert: ExpertTraining, base: State, work: Path) -> None:
    """One expert, trained from a base into the work folder; for a process of its own."""
    state = experts.train_expert(expert, base, SHAPE, tokenizer.build(), log)
    train.save_state(state, work / f"{expert.name}.pt")


def make_experts(trainings: Sequence[ExpertTraining], base: State, work: Path) -> dict[str, State]:
    """Experts, trained two at a time unless the work folder has them."""
    missing = [e for e in trainings if not (work / f"{e.name}.pt").exists()]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in [pool.submit(make_expert, expert, base, work) for expert in missing]:
            done.result()
    return {e.name: train.load_state(work / f"{e.name}.pt") for e in trainings}


def shipped_models(out: Path) -> dict[str, State]:
    """The weights under `out`, the base first."""
    folders = sorted(path.parent for path in (out / "weights").glob("*/model.safetensors"))
    return {folder.name: checkpoint.read(folder) for folder in folders}


def evaluate(plan: Plan, out: Path) -> None:
    """Scores the shipped weights; writes and prints the tables."""
    models = shipped_models(out)
    parts, tables = ["# Scores of the demo family\n"], {}
    for code, prefix, reach in LANGUAGES:
        reach = min(reach, plan.reach)
        tables[code], lands = table.make(
            models, SHAPE, out / "data", code, prefix, log, reach, plan.limit, plan.new
        )
        parts.append(table.markdown(f"held-out `{code}` problems", tables[code]))
        parts.append(table.maps(lands, reach))
        (out / "SCORES.md").write_text("\n".join(parts), encoding="utf-8")
        table.dump(out / "scores.json", tables)
    print("\n".join(parts))


def hashes(out: Path) -> dict[str, str]:
    """SHA-256 of every shipped file, by path relative to `out`."""
    tops = [out / name for name in SHIPPED]
    files = [f for top in tops for f in (top.rglob("*") if top.is_dir() else [top]) if f.is_file()]
    return {
        file.relative_to(out).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(files)
    }


def write_hashes(out: Path) -> None:
    """Writes SHA256SUMS of a family's shipped files."""
    sums = "".join(f"{digest}  {name}\n" for name, digest in hashes(out).items())
    (out / SUMS).write_text(sums, encoding="utf-8")


def check(out: Path) -> list[str]:
    """What differs from a family's SHA256SUMS, one line each; empty when all is well."""
    lines = (out / SUMS).read_text(encoding="utf-8").splitlines()
    expected = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    found = hashes(out)
    wrong = [f"{name}: missing" for name in expected.keys() - found.keys()]
    wrong += [f"{name}: not in {SUMS}" for name in found.keys() - expected.keys()]
    wrong += [
        f"{name}: has {found[name][:12]}, {SUMS} says {expected[name][:12]}"
        for name in expected.keys() & found.keys()
        if found[name] != expected[name]
    ]
    return sorted(wrong)


def build_confused(plan: Plan, work: Path, out: Path) -> None:
    """The second family's expert, on the base whose folder is under `out`.

    It starts from the weights that are shipped, bfloat16, not from the stage's float32 ones.
    """
    log("confused expert")
    work.mkdir(parents=True, exist_ok=True)
    base = checkpoint.read(out / "weights" / "base")
    for name, state in make_experts(plan.confused, base, work).items():
        checkpoint.write(out / SECOND / "weights" / name, SHAPE, state)
    write_hashes(out / SECOND)


def build(plan: Plan, work: Path, out: Path) -> None:
    """Runs all stages."""
    work.mkdir(parents=True, exist_ok=True)
    log("benchmark files")
    testdata.write(out / "data")
    log("base")
    models = {"base": make_base(plan, work)}
    log("experts")
    models |= make_experts(plan.experts, models["base"], work)
    for name, state in models.items():
        checkpoint.write(out / "weights" / name, SHAPE, state)
    log("scores")
    evaluate(plan, out)
    write_hashes(out)
    build_confused(plan, work, out)
    log("done")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.build", description="Build the demo family."
    )
    parser.add_argument("--check", action="store_true", help="only compare files with SHA256SUMS")
    parser.add_argument("--evaluate", action="store_true", help="only score the shipped weights")
    parser.add_argument("--confused", action="store_true", help="only make the second family")
    parser.add_argument("--smoke", action="store_true", help="a few steps of everything")
    parser.add_argument("--out", type=Path, default=HERE, help="where the family goes, or is")
    parser.add_argument("--work", type=Path, help="cache of the stages (default: OUT/work)")
    args = parser.parse_args(argv)
    if args.check:
        wrong = check(args.out) + [f"{SECOND}/{line}" for line in check(args.out / SECOND)]
        print("\n".join(wrong) or f"all files match {SUMS}")
        return 1 if wrong else 0
    if args.smoke and args.out == HERE:
        parser.error("--smoke needs --out: it would overwrite the shipped family")
    plan = Plan.smoke() if args.smoke else Plan.full()
    work = args.work or args.out / "work"
    if args.evaluate:
        evaluate(plan, args.out)
    elif args.confused:
        build_confused(plan, work, args.out)
    else:
        build(plan, work, args.out)
    return 0


if __name__ == "__main__":
    wanted = MEMORY | ({"TORCHDYNAMO_DISABLE": "1"} if "--smoke" in sys.argv else {})
    if not wanted.keys() <= os.environ.keys() and "--check" not in sys.argv:
        command = [sys.executable, "-m", "demo.build", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **wanted})
    sys.exit(main())
