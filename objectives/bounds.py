"""How large files of others may be that are read whole, and what YAML may become.

A file that takes no room on a disk can be of any size, and YAML can be more than it looks. Knows
nothing of what they say.
"""

from __future__ import annotations

import errno
import stat
from pathlib import Path

import yaml

LARGEST = 2**20
"""Bytes of a YAML file, and values in it."""
LARGEST_FILE = 2**28
"""Bytes of a file that is read whole; the largest published tokenizers have some 30 MB."""


def read_whole(file: Path, most: float = LARGEST_FILE) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: it cannot be read, is no regular file, which may have no end, or is larger.
    """
    state = file.stat()
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    if state.st_size > most:
        raise OSError(errno.EFBIG, f"it is larger than {most} bytes")
    return file.read_bytes()


def check_yaml(text: str | bytes) -> None:
    """Refuse YAML that would become more than its file: anchors in anchors, or a file too large.

    Raises:
        ValueError: saying so.
        yaml.YAMLError, RecursionError: it is not YAML, or nested too deep.
    """
    if len(text) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST} bytes")
    sizes: dict[int, int] = {}

    def size(node: yaml.Node | None) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = LARGEST  # of a node within itself
            below = node.value if isinstance(node, yaml.CollectionNode) else ()
            pairs = isinstance(node, yaml.MappingNode)
            inner = (part for pair in below for part in pair) if pairs else below
            sizes[id(node)] = 1 + sum(map(size, inner))
        return sizes[id(node)]

    if size(yaml.compose(text, Loader=yaml.SafeLoader)) > LARGEST:
        raise ValueError("its anchors (&) and aliases (*) make too much of it: write it out")
