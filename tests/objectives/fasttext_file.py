"""Writes the smallest fastText model there is, with labels of one's own."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from objectives.langid import language_of
from objectives.langid_sentences import SENTENCES

CERTAIN = 40.0
"""Makes a label's share all but 1 where every known word of a text is its own."""


def write_model(path: Path, words: Mapping[str, Sequence[str]]) -> Path:
    """Write a supervised model (softmax, no subwords) that knows some words of each label.

    It knows the plain sentences of its labels' languages as well, as every model has to. The layout
    is fastText's own, version 12 (`FastText::saveModel`): arguments, dictionary, input
    and output matrix, little-endian. A word's vector points at its label.

    Args:
        path: The file.
        words: Label, without "__label__" -> its words.
    """
    labels = list(words)
    given = {word for own in words.values() for word in own}
    plain = {label: SENTENCES.get(language_of(label), "").split() for label in labels}
    words = {label: [*words[label], *sorted(set(plain[label]) - given)] for label in labels}
    known = [(word, labels.index(label)) for label in labels for word in words[label]]
    dim = len(labels)
    # dim, ws, epoch, minCount, neg, wordNgrams, loss=softmax, model=supervised, bucket, minn, maxn,
    # lrUpdateRate; t
    data = struct.pack("<2i", 793712314, 12)
    data += struct.pack("<12id", dim, 5, 1, 1, 5, 1, 3, 3, 0, 0, 0, 100, 1e-4)
    data += struct.pack("<3i2q", len(known) + dim, len(known), dim, len(known), -1)
    entries = [(word, 0) for word, _ in known] + [(f"__label__{label}", 1) for label in labels]
    for text, kind in entries:
        data += text.encode() + b"\0" + struct.pack("<qb", 1, kind)
    data += _matrix([[CERTAIN * (i == own) for i in range(dim)] for _, own in known])
    data += _matrix([[1.0 * (i == j) for i in range(dim)] for j in range(dim)])
    path.write_bytes(data)
    return path


def _matrix(rows: Sequence[Sequence[float]]) -> bytes:
    """A dense matrix after the flag that says it is not quantised."""
    values = [value for row in rows for value in row]
    size = struct.pack("<?2q", False, len(rows), len(rows[0]))
    return size + struct.pack(f"<{len(values)}f", *values)
