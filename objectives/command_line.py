"""Command lines of both packages: what argparse does not know, it is asked to guess at.

Owns the guess for an option or a choice that was mistyped. What a command takes, it says itself.
"""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from objectives.words import did_you_mean

_UNKNOWN = re.compile(r"unrecognized arguments: .*?(?P<given>--[^\s=]+)")
_CHOICE = re.compile(r"invalid choice: '(?P<given>.*)' \(choose from (?P<known>.*)\)")


class Parser(argparse.ArgumentParser):
    """A parser whose error names the option, or the choice, that was probably meant."""

    def error(self, message: str) -> NoReturn:
        """Print usage and message, with a guess where there is one; exit with status 2."""
        if found := _UNKNOWN.search(message):
            message += did_you_mean(found["given"], self._option_string_actions)
        elif found := _CHOICE.search(message):
            message += did_you_mean(found["given"], re.findall(r"'([^']*)'", found["known"]))
        super().error(message)
