"""The report on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.report.files import inspected, made, renew, write
from search.report.material import Material
from search.results.summary import ARTIFACTS


@pytest.mark.slow
def test_every_file_of_the_report(study: Material, tmp_path: Path) -> None:
    write(study, tmp_path)
    written = {file.name for file in tmp_path.iterdir()}
    assert written == set(ARTIFACTS) - {"study.yaml"}
    assert (tmp_path / "report.html").read_text("utf-8") == made(study, tmp_path)


@pytest.mark.slow
def test_of_a_running_study(searched: Material, tmp_path: Path) -> None:
    assert "The study is running" in renew(searched.records, tmp_path)


def test_where_a_heat_map_is_looked_for(study: Material, tmp_path: Path) -> None:
    own, beside, here = inspected(study, tmp_path / "runs" / "s")
    assert own == tmp_path / "runs" / "s" / "inspect"
    assert beside == tmp_path / "inspect" / "demo-te" and here == Path("inspect/demo-te")
