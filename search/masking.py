"""What counts as a secret in a text: users, passwords and tokens in addresses. Never shown.

Imports nothing of this project: every error's message goes through here.
"""

from __future__ import annotations

import re

HIDDEN = "***"

_NAMED = re.compile(
    r"(?i)(\b[\w.-]*(?:passw|pwd|secret|credential|signature|(?:api|access)_?-?key)[\w.-]*"
    r"|\b[\w.-]*(?<!bos_)(?<!eos_)(?<!pad_)(?<!unk_)token"  # and not max_tokens, tokenizer
    r"|(?<=[?&])(?:key|sig|auth|pass))=[^&\s'\",;)]+"
)


def masked(text: str) -> str:
    """The text without the users, passwords and tokens that its addresses hold.

    A password that is hidden already stays beside its user's name.
    """
    password = r"(?!\d+(?:/|$))(?!\*{3}@)[^\s@,;'\")]*"  # not a port; there may be a / in it
    text = re.sub(rf"//(?!\[)[^/\s:@]*:{password}@", f"//{HIDDEN}@", text)
    return hide_named(re.sub(r"//(?![^/\s:@]*:\*{3}@)[^/\s]*@", f"//{HIDDEN}@", text))


def hide_named(text: str) -> str:
    """The text without the values of what is called a password, a token or the like."""
    return _NAMED.sub(rf"\1={HIDDEN}", text)
