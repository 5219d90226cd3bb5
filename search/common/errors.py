"""The exception tree of the service; every message names the thing, its value and what to do.

    SearchError
    ├── ConfigError             what the user wrote: flags, overrides, YAML
    ├── RecipeError             a recipe that no model with this many layers can have
    ├── CheckpointError         a checkpoint that can't be opened: folder, shard, header, NaN
    │   ├── ExpertMismatchError experts that do not fit the base; all mismatches at once
    │   └── HubError            neither a folder here nor to be had from the Hugging Face hub
    ├── EngineError             the live engine
    │   ├── EngineStartError    it could not be built
    │   ├── MaterialiseError    a rewrite failed half way: the engine's weights are unknown
    │   ├── EngineDeadError     it died while generating
    │   └── EngineProcessError  its process must not have another engine
    └── StudyError              the study's folder: exists with another configuration, not writable

A non-finite merge is not an error: it is a trial that ends *infeasible*
(`search.engine.contract.NonFinite`).
"""

from __future__ import annotations

from objectives.letters import visible
from search.common.masking import masked

LONGEST = 20_000
"""Characters of a message; who reads one does not miss what comes after, and masking takes time."""


class SearchError(Exception):
    """Base of all errors that are raised on purpose; none shows a password or moves a cursor."""

    def __init__(self, message: str) -> None:
        """Take the message, which may quote what a user wrote or another library says."""
        whole = len(message) <= LONGEST
        super().__init__(visible(masked(message if whole else f"{message[:LONGEST]} ...")))


class ConfigError(SearchError):
    """The configuration is wrong; the message lists every fault found."""


class RecipeError(SearchError):
    """A recipe's numbers violate `b + u + t_b + t_u <= L` or the weights' rules."""


class CheckpointError(SearchError):
    """A checkpoint cannot be opened or holds values no merge can use."""


class ExpertMismatchError(CheckpointError):
    """One or more experts do not fit the base; the message lists every mismatch."""


class HubError(CheckpointError):
    """A model that is no folder here and cannot be had from the Hugging Face hub.

    Attributes:
        unreachable: the hub did not answer, or may not be asked.
    """

    def __init__(self, message: str, *, unreachable: bool = False) -> None:
        """Take the message, and whether the hub was reached."""
        super().__init__(message)
        self.unreachable = unreachable


class EngineError(SearchError):
    """The live engine failed; its weights must be taken as unknown."""


class EngineStartError(EngineError):
    """The engine could not be built."""


class MaterialiseError(EngineError):
    """Rewriting the weights failed after the first tensor was handed over."""


class EngineDeadError(EngineError):
    """The engine died or refused to generate."""


class EngineProcessError(EngineError):
    """The engine failed, and the process that it was in must not have another."""


class StudyError(SearchError):
    """The study's folder or records cannot be used as asked."""
