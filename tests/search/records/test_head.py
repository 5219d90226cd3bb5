"""study.yaml: what is written comes back, and what cannot be used is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.common.errors import StudyError
from search.records.head import StudyHead, taken
from tests.search.records.samples import HEAD


def test_round_trip() -> None:
    head = replace(
        HEAD,
        versions={"vllm": "1"},
        layers=28,
        family={"task/0": {"hash": "ab"}},
        data={"mgsm": "cd"},
        imported={"study": "s3://b/ఒక"},
        extensions=[{"when": "2025-01-01T00:00:00Z", "trials": 3, "budget": 6}],
        finished="2025-01-02T00:00:00Z",
    )
    data = head.to_yaml()
    assert StudyHead.from_yaml(data, "study.yaml") == head
    assert "s3://b/ఒక" in data.decode() and data.startswith(b"name: s\nconfig:\n")


def test_two_studies_of_one_name_have_two_ids() -> None:
    assert StudyHead("s", {}).id != StudyHead("s", {}).id


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("schema: 1", "x/study.yaml is of schema 1, not 2: an older version wrote it.*Begin a new"),
        ("schema: 3", "of schema 3, and this version knows 2: a newer version .* update this one"),
        ("schema: null", "of schema None, not 2"),
        ("name: s", "x/study.yaml holds no mapping with a schema: it is no study's, or was cut"),
        ("[1]", "x/study.yaml holds no mapping with a schema"),
        ("two", "x/study.yaml holds no mapping with a schema"),
        ("", "x/study.yaml is empty: it is no study's, or was cut or edited"),
        ("a: [", "x/study.yaml cannot be used: while parsing"),
        ("schema: 2\nname: s", "x/study.yaml cannot be used: config: Field required"),
        ("schema: 2\nname: s\nconfig: {}\ncolour: red", "has colour, which no study has"),
        ("schema: 2\nname: s\nconfig: {}\n2: 2\ntrue: 3", "has 2, True, which no study has"),
        ("schema: 2\nname: s\nconfig: 3", "config: Input should be a valid dict.*, not 3"),
        ("schema: 2\nname: s\nconfig: {}\nlayers: x", "layers: .* a valid integer.*, not 'x'"),
    ],
)
def test_what_is_no_head(text: str, fault: str) -> None:
    with pytest.raises(StudyError, match=fault):
        StudyHead.from_yaml(text.encode(), "x/study.yaml")


def test_at_most_five_differences_are_said() -> None:
    one, other = (StudyHead("s", {f"k{n}": m for n in range(7)}) for m in (1, 2))
    said = taken(one, other, "runs/s")
    assert "k4 (1 there, 2 here); name another with --study" in said and "k5" not in said
    assert said.endswith("or go on with --resume runs/s")
