"""Engine time of lm-evaluation-harness's tasks: through our objective, and by its own vLLM model.

    python -m benchmarks.lm_eval_speed

Both ask one live engine, which holds a merge of the demo family, in turn: the harness's model class
is given that engine in place of one that it would start. Before each run the cached prefixes are
forgotten. A run is timed as a whole, which is what an item costs, and within vLLM.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from benchmarks.gpu.proof import demo_sources
from demo.lm_eval_task import write
from objectives.lm_eval import LmEvalObjective
from objectives.lm_eval_tasks import Tasks, load
from search.checkpoints.family import fit
from search.export.writer import write_export
from search.merging.recipe import LayerSwap
from tests.engine_options import engine_options

ITEMS = 60
RUNS = 5
LENGTH = 512


def main() -> list[str]:
    """Measure; the lines of RESULTS.md."""
    from search.engine.live import Engine

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = write_tasks(folder / "tasks")
        family = fit(demo_sources(), check_finite=False)
        engine = Engine(family, engine_options(max_model_len=LENGTH, max_num_seqs=64))
        merged = family.plan(LayerSwap(0, 0, 3, 2, 0, 0))
        engine.materialise(merged)
        write_export(merged, family.sources, family.base, folder / "merged")
        theirs = harness_model(folder / "merged", engine.llm)
        for kind, task in names.items():
            tasks = load([task], folder / "tasks", code=False, fetch=False)
            found[kind] = compare(engine, theirs, tasks)
            print(kind, found[kind], file=sys.stderr)
        engine.close()
    return list(lines(found))


def write_tasks(folder: Path) -> Mapping[str, str]:
    """Generation, and the same questions with four choices after three examples: kind -> task."""
    name = write("te", folder)
    rows = map(json.loads, (folder / f"{name}.jsonl").read_text("utf-8").splitlines())
    data = folder / "choices.jsonl"
    with open(data, "w", encoding="utf-8") as file:
        for row in rows:
            right = int(row["answer"])
            choices = [str(right + apart) for apart in (0, 1, 2, 5)]
            print(json.dumps({"question": row["question"], "choices": choices}), file=file)
    task = {
        "task": "choices",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "fewshot_split": "test",
        "num_fewshot": 3,
        "output_type": "multiple_choice",
        "doc_to_text": "Q: {{question}} A:",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": 0,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    (folder / "choices.yaml").write_text(json.dumps(task), "utf-8")
    return {"generation": name, "multiple choice": "choices"}


def harness_model(folder: Path, llm: Any) -> Any:
    """The harness's vLLM model on an engine that runs; a CPU's vLLM has another package's name."""
    plain = metadata.version

    def version(name: str) -> str:
        try:
            return plain(name)
        except metadata.PackageNotFoundError:
            return plain(f"{name}-cpu")

    metadata.version = version
    try:
        module: Any = import_module("lm_eval.models.vllm_causallms")
        module.LLM = lambda **_: llm
        return module.VLLM(pretrained=str(folder), max_model_len=LENGTH, batch_size="auto")
    finally:
        metadata.version = plain


def compare(engine: Any, theirs: Any, tasks: Tasks) -> Mapping[str, Any]:
    """Seconds of both for all requests of a task, and how many answers are the same."""
    objective = LmEvalObjective(tasks, ITEMS, 1, seed=0)
    asked = objective.requests("search")
    chosen = {item.id for item in objective._parts.search}
    instances = [i for key, own in tasks._instances.items() if key in chosen for i in own]
    order = {key: place for place, key in enumerate(i.id for i in objective._parts.search)}
    instances.sort(key=lambda i: (order[f"{i.task_name}/{i.doc_id}"], i.idx))
    written = asked[0].continuation is None
    method = theirs.generate_until if written else theirs.loglikelihood
    ways: dict[str, Callable[[], Sequence[Any]]] = {
        "ours": lambda: engine.generate(asked),
        "harness": lambda: method(instances, disable_tqdm=True),
    }
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    answers: dict[str, Sequence[Any]] = {}
    for _ in range(1 + RUNS):  # the first warms up
        for way, ask in ways.items():
            engine.llm.reset_prefix_cache()
            answers[way], took = timed(engine.llm, ask)
            seconds[way].append(took)
    ours, other = answers["ours"], answers["harness"]
    if written:
        same = sum(a.text == b for a, b in zip(ours, other, strict=True))
    else:
        same = sum(abs(a.logprob - b[0]) < 1e-2 for a, b in zip(ours, other, strict=True))
    least = {
        way: [min(each) for each in zip(*took[1:], strict=True)] for way, took in seconds.items()
    }
    return {"requests": len(asked), "same": same} | least


def timed(llm: Any, ask: Callable[[], Sequence[Any]]) -> tuple[Sequence[Any], tuple[float, float]]:
    """What is answered, and its seconds: of the whole call, and of those within vLLM."""
    inside = 0.0
    plain = llm.generate

    def generate(*arguments: Any, **named: Any) -> Any:
        nonlocal inside
        begun = time.perf_counter()
        try:
            return plain(*arguments, **named | {"use_tqdm": False})
        finally:
            inside += time.perf_counter() - begun

    llm.generate = generate
    try:
        begun = time.perf_counter()
        found = ask()
        return found, (time.perf_counter() - begun, inside)
    finally:
        del llm.generate


def lines(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The table."""
    yield f"{ITEMS} items of the demo's problems, seconds (the least of {RUNS}; within vLLM)."
    yield ""
    yield "| task | requests | ours | harness | ours / harness, within vLLM | same answers |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for kind, one in found.items():
        both = [f"{one[way][0]:.2f} ({one[way][1]:.2f})" for way in ("ours", "harness")]
        share = one["ours"][1] / one["harness"][1]
        same = f"{one['same']} of {one['requests']}"
        yield f"| {kind} | {one['requests']} | {' | '.join(both)} | {share:.2f} | {same} |"


if __name__ == "__main__":
    print("\n".join(main()))
