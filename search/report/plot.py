"""A figure as plain data for plotly.js, and the texts in it.

Owns the colours (Okabe and Ito's, which colour-blind people can tell; cividis where a colour is a
number) and that nothing of a text is read as HTML. A colour such as `var(--ink)` is the page's, for
light or dark; so is the blue, which on dark paper is lighter. Draws nothing: that is
assets/page.js.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import escape

from objectives.letters import visible

BLUE, ORANGE, GREEN = "var(--blue)", "#E69F00", "#009E73"
VERMILLION, PURPLE, SKY = "#D55E00", "#CC79A7", "#56B4E9"
INK, MUTED, GRID = "var(--ink)", "var(--muted)", "var(--line)"
SCALE = "Cividis"
LINES = ((0, SKY), (0.5, "#999999"), (1, ORANGE))
"""Scale for thin lines, whose ends are to be seen on light and on dark paper."""


@dataclass(frozen=True)
class Plot:
    """A figure.

    Attributes:
        id: of its element.
        title: its heading.
        about: what is to be seen, in words.
        data: plotly's traces.
        layout: plotly's layout; the page adds fonts and colours.
        height: in pixels.
        choices: what the reader may choose: label -> property of the traces -> a value for each.
        points: of the landscape, which the page draws itself.
    """

    id: str
    title: str
    about: str
    data: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any] = field(default_factory=dict)
    height: int = 420
    choices: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    points: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """What the page's script is given."""
        return {
            "id": self.id,
            "data": list(self.data),
            "layout": {"height": self.height, **self.layout},
            "choices": self.choices,
            "points": self.points,
        }


def text(words: object) -> str:
    """A text for plotly.js, which would read tags of HTML in it."""
    return str(escape(visible(str(words))))


def lines(*words: object) -> str:
    """Lines of a label that is shown beside a point."""
    return "<br>".join(text(word) for word in words if str(word))


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with its title."""
    return {"title": {"text": text(title)}, "automargin": True, **more}


def points(share: float | None) -> float | None:
    """A share in percent, to a hundredth."""
    return None if share is None else round(100 * share, 2)
