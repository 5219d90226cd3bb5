"""The demo's math problems as a task of lm-evaluation-harness: YAML and JSON lines in a folder.

    python -m demo.lm_eval_task te --out my_tasks

The task `demo_te` asks and scores as `conf/objective/demo.yaml` has MGSM do.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import yaml

DATA = Path(__file__).parent / "data" / "mgsm"


def write(lang: str, folder: Path) -> str:
    """Write the task of one language; its name.

    Args:
        lang: code of one of the demo's languages.
        folder: where the files go; it is made.
    """
    name = f"demo_{lang}"
    folder.mkdir(parents=True, exist_ok=True)
    data = folder.resolve() / f"{name}.jsonl"
    lines = (DATA / f"mgsm_{lang}.tsv").read_text("utf-8").splitlines()
    rows = [dict(zip(("question", "answer"), line.split("\t"), strict=True)) for line in lines]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    data.write_text(text, "utf-8")
    number = r"(-?\d+)"  # the last counts, in whatever language
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "Q: {{question}} A:",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["Q:"], "max_gen_toks": 96, "do_sample": False},
        "filter_list": [
            {
                "name": "last",
                "filter": [
                    {"function": "regex", "regex_pattern": number, "group_select": -1},
                    {"function": "take_first"},
                ],
            }
        ],
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    yaml_text = yaml.safe_dump(task, allow_unicode=True, sort_keys=False)
    (folder / f"{name}.yaml").write_text(yaml_text, "utf-8")
    return name


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m demo.lm_eval_task", description=__doc__)
    codes = sorted(file.stem.removeprefix("mgsm_") for file in DATA.glob("mgsm_*.tsv"))
    parser.add_argument("lang", choices=codes)
    parser.add_argument("--out", type=Path, required=True, help="folder of the task's files")
    asked = parser.parse_args(argv)
    print(f"wrote {write(asked.lang, asked.out)} into {asked.out}")


if __name__ == "__main__":
    main()
