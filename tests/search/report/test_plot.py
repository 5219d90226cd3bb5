"""Texts and numbers in figures."""

from __future__ import annotations

from search.report.plot import Plot, axis, lines, points, text


def test_no_text_is_html() -> None:
    assert text("<b>&\x1b") == "&lt;b&gt;&amp;\\x1b"
    assert lines("a", "", "<i>") == "a<br>&lt;i&gt;"
    assert axis("<x>", dtick=1)["title"] == {"text": "&lt;x&gt;"}


def test_points_and_the_plain_form() -> None:
    assert points(0.87654) == 87.65 and points(None) is None
    plain = Plot("x", "t", "a.", [{"type": "bar"}], {"barmode": "stack"}, 100).plain()
    assert plain["layout"] == {"height": 100, "barmode": "stack"} and plain["id"] == "x"
