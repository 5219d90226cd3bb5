"""What lm-evaluation-harness 0.4.13 raises of a task that it cannot build, in words for its author.

Owns what each kind of error says of a YAML or its data. Errors are told apart by the names of their
classes, so that no library is loaded for it.
"""

from __future__ import annotations

_OF_KIND = {
    "KeyError": "its data has no such split (test_split, validation_split, fewshot_split) or field",
    "UndefinedError": "a template names a field that the data has not",
    "TemplateSyntaxError": "a template that is not written to its end",
    "IndexError": "doc_to_target is no index of the choices, or the data has no row",
    "StopIteration": "its data has no row",
    "FileNotFoundError": "relative names are looked up from the folder that the command is started "
    "in, not from the YAML's",
    "MemoryError": "a template makes a text without end",
}
_OF_TEXT = {
    "Sample larger than population": "num_fewshot is more than the rows that examples are drawn of",
    "unexpected keyword argument": "a key that no task has",
}
_ELSEWHERE = ("ConnectionError", "OfflineModeIsEnabled", "DatasetNotFoundError")


def in_words(error: BaseException, *, fetch: bool) -> str:
    """One line: what was raised, and what of the YAML or its data it speaks of.

    Args:
        error: of the harness, or of a library that it calls.
        fetch: whether data sets may be fetched.
    """
    names = [kind.__name__ for kind in type(error).__mro__]
    if "DatasetGenerationError" in names and error.__cause__ is not None:  # it tells nothing itself
        return f"its data cannot be read: {error.__cause__}"
    if "KeyError" in names and error.args and " " in str(error.args[0]):
        return " ".join(str(error.args[0]).split())  # a sentence, not a key
    said = " ".join(str(error).split()) or names[0]
    hints = [hint for name, hint in _OF_KIND.items() if name in names]
    hints += [hint for text, hint in _OF_TEXT.items() if text in said]
    if not fetch and (set(names) & set(_ELSEWHERE) or "find cache" in said):
        hints.append(
            "data sets are not fetched unless objective.lm_eval.fetch=true is set; data of one's "
            "own is named in dataset_kwargs.data_files"
        )
    return f"{said}: {hints[0]}" if hints else f"{said} ({names[0]})"
