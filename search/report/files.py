"""What a study's report is on disk: report.md, report.tsv, the pictures and report.html.

Owns their names and that they are made from records alone. A file is the old one or the new one,
whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from search.records.durable import write_whole
from search.records.reader import RecordsReader
from search.report.material import Material
from search.report.page import page
from search.report.renewal import HTML
from search.results import figures, tables


def write(study: Material, folder: Path) -> None:
    """Write all files of the report.

    Args:
        study: the study, judged.
        folder: where to.

    Raises:
        OSError: the folder cannot be written.
    """
    final, report = study.final, study.report
    tables.write(report, folder)
    figures.draw(
        study.records.trials,
        None if report.no_recommendation else final.choice,
        final.default,
        folder,
        n_layers=final.n_layers,
        family=final.config.family.name,
        lang=final.config.lang,
    )
    write_whole(folder / HTML, made(study, folder).encode(errors="backslashreplace"))


def made(study: Material, folder: Path) -> str:
    """The text of report.html, to be written into this folder."""
    return page(study, inspected(study, folder))


def renew(records: RecordsReader, folder: Path) -> str:
    """The same of a study that is running."""
    return made(Material.of(records, running=True), folder)


def inspected(study: Material, folder: Path) -> Sequence[Path]:
    """Where `search.inspect` may have left its table."""
    name = f"{study.final.config.family.name}-{study.final.config.lang}"
    return folder / "inspect", folder.parent.parent / "inspect" / name, Path("inspect") / name
