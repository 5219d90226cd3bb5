"""The main job on the tiny family, up to where its engines would start; for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from search.checkpoints.family import Family
from search.config import compose
from search.records.head import StudyHead
from search.records.writer import RecordsWriter
from search.run import __main__ as run
from search.run.prepare import Prepared, prepare
from tests.data import write_lcb, write_mgsm


class Setup:
    """A valid command line for the tiny family, for tests to spoil."""

    def __init__(self, folder: Path, family: Family) -> None:
        self.folder = folder
        self.out = folder / "runs"
        self.mgsm, self.lcb = write_mgsm(folder / "mgsm"), write_lcb(folder / "lcb")
        self.family = {
            "name": family.name,
            "base": str(family.base),
            "task": [str(p) for p in family.task],
            "language": {k: [str(p) for p in v] for k, v in family.language.items()},
        }
        self.more: list[str] = []

    def overrides(self) -> list[str]:
        """What the configuration's files do not say."""
        file = self.folder / "family.yaml"
        file.write_text(yaml.safe_dump(self.family))
        return [
            f"family={file}",
            "objective=mgsm_lcb",
            "objective.mgsm.shots=0",
            "objective.mgsm.search_items=6",
            "objective.mgsm.held_out_items=6",
            "objective.lcpr.search_items=4",
            "objective.lcpr.held_out_items=4",
            *self.more,
        ]

    def main(self, lang: str = "te", study: str | None = "s") -> int:
        """Run the command."""
        return run.main(
            [
                f"--lang={lang}",
                f"--out={self.out}",
                *([f"--study={study}"] if study else []),
                f"--mgsm-dir={self.mgsm}",
                f"--lcb-dir={self.lcb}",
                *self.overrides(),
            ]
        )

    def prepared(self, study: str = "s") -> Prepared:
        """The study as the command has it before it starts; its MLflow does not answer."""
        data = {"objective.mgsm.data_dir": str(self.mgsm), "objective.lcpr.data_dir": str(self.lcb)}
        config = compose.load(self.overrides(), {"lang": "te", **data})
        head = StudyHead(study, config.model_dump(mode="json"))
        records = RecordsWriter.create(self.out / study, head)
        found = prepare(config, study, records, "http://me:hunter2@127.0.0.1:9")
        records.rewrite(replace(head, layers=found.family.n_layers))
        return found
