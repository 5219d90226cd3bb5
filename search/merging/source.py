"""Names of a family's checkpoints: `base`, `task/0`, `lang/1`, `reference/instruct`."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("task", "lang", "base", "reference")
"""In the order in which tables show them."""


@dataclass(frozen=True)
class Source:
    """One checkpoint of a family.

    Attributes:
        kind: one of `KINDS`.
        index: place in the family's list; 0 for the base and references.
        name: of a reference; empty for all others.
    """

    kind: str
    index: int = 0
    name: str = ""

    @classmethod
    def of(cls, text: str) -> Source:
        """The inverse of `str`."""
        kind, _, rest = text.partition("/")
        if kind in ("task", "lang"):
            return cls(kind, int(rest))
        return cls(kind, 0, rest)

    def __str__(self) -> str:
        return self.kind + (f"/{self.name or self.index}" if self.kind != "base" else "")

    @property
    def is_expert(self) -> bool:
        """Whether it is an expert of the family, of the task or of the language."""
        return self.kind in ("task", "lang")

    @property
    def order(self) -> tuple[int, int, str]:
        """Key to sort by: task experts, language experts, base, references."""
        return KINDS.index(self.kind), self.index, self.name
