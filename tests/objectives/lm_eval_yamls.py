"""Task YAMLs with local JSON, of every kind that lm-evaluation-harness has, for its tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SUMS = [(a, b) for a in range(3) for b in range(4)]
NAMES = ("sums", "pick", "pick_norm", "cloze", "prose", "pair")
"""Generation with a regex filter, multiple choice by `acc` and by `acc_norm`, a log-likelihood, a
perplexity, a group of two."""


def write(folder: Path) -> Path:
    """Write the tasks of `NAMES` and their data; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = [
        {
            "question": f"Sita has {a} balls and gets {b} more. How many?",
            "answer": str(a + b),
            "choices": [str(a + b), "none at all", str(a + b + 1)],
            "gold": 0,
            "text": f"Sita has {a} balls. Ravi has {b} of them, and no more.",
        }
        for a, b in SUMS
    ]
    data = folder / "data.json"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    ask = {"doc_to_text": "Question: {{question}}\nAnswer:"}
    choose = ask | {"output_type": "multiple_choice", "doc_to_choice": "{{choices}}"}
    choose |= {"doc_to_target": "{{gold}}"}
    regex = {"function": "regex", "regex_pattern": r"(-?\d+)"}
    first = {"function": "take_first"}
    tasks: dict[str, dict[str, Any]] = {
        "sums": ask
        | {
            "output_type": "generate_until",
            "doc_to_target": "{{answer}}",
            "num_fewshot": 2,
            "fewshot_split": "test",
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": 12},
            "filter_list": [{"name": "number", "filter": [regex, first]}],
            "metric_list": _metrics("exact_match"),
        },
        "pick": choose | {"metric_list": _metrics("acc")},
        "pick_norm": choose | {"metric_list": _metrics("acc_norm", "acc")},
        "pair_one": choose | {"num_fewshot": 1, "metric_list": _metrics("acc")},
        "pair_two": choose | {"doc_to_text": "{{question}}", "metric_list": _metrics("acc")},
        "cloze": ask
        | {
            "output_type": "loglikelihood",
            "doc_to_target": "{{answer}}",
            "metric_list": [
                {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
                *_metrics("acc"),
            ],
        },
        "prose": {
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{text}}",
            "metric_list": [{"metric": m} for m in ("bits_per_byte", "word_perplexity")],
        },
    }
    for name, task in tasks.items():
        local = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}}}
        whole = {"task": name, "test_split": "test"} | local | task
        (folder / f"{name}.yaml").write_text(json.dumps(whole), "utf-8")
    group = {"group": "pair", "task": ["pair_one", "pair_two"]}
    group["aggregate_metric_list"] = [{"metric": "acc", "weight_by_size": True}]
    (folder / "pair.yaml").write_text(json.dumps(group), "utf-8")
    return folder


def _metrics(*names: str) -> list[dict[str, Any]]:
    return [{"metric": m, "aggregation": "mean", "higher_is_better": True} for m in names]
