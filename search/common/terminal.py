"""What commands print on: nothing that is shown can command the terminal or rich.

Texts of models, of files and of other people's studies are among it, so no text is markup, and
characters that would move the cursor or turn the line are shown as escapes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from objectives.letters import visible


class Terminal(Console):
    """A console for texts that may be anybody's."""

    def __init__(self, **given: Any) -> None:
        """As rich's; markup and emoji codes are off."""
        super().__init__(markup=False, emoji=False, **given)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As rich's, of visible characters alone; rich's own codes stay."""
        return self._visible(super().render(renderable, options))

    def on_broken_pipe(self) -> None:
        """Print nothing further; Python flushes its output once more when it ends.

        That nobody reads it any longer, as behind `| head`, ends no search.
        """
        self.quiet = True
        if self.file is sys.stdout:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    @staticmethod
    def _visible(segments: Iterable[Segment]) -> Iterator[Segment]:
        for text, style, control in segments:
            yield Segment(text if control else visible(text), style, control)
