"""What YAML of others may be: no larger than a file of settings, and no more than it looks.

Knows nothing of what it says.
"""

from __future__ import annotations

import yaml

LARGEST = 2**20
"""Bytes of a file, and values in it."""


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
