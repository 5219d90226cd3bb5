"""What counts as a secret in a text: users, passwords and tokens. Never shown.

Imports nothing of this project: every error's message goes through here. Addresses are taken apart
as `urllib.parse` does; where a text does not tell the end of a secret, more is hidden, not less. A
text is masked before it is cut to a length: half a secret is none that could be told.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "***"

_SECRET = re.compile(
    r"passw|passphrase|pwd|secret|sessionid|credential|signature|authorization|cookie"
    r"|(?:api|access|account|subscription|shared|private|signing|master|storage|encryption)key"
    r"|(?<!bos)(?<!eos)(?<!pad)(?<!unk)(?<!sep)(?<!cls)(?<!mask)(?<!image)token$"
)
"""What a name says, in lower case and without - _ . and the like, whose value is a secret."""
_IN_QUERY = {"key", "sig", "auth", "pass", "code", "jwt"}
"""Names that say so in an address's query alone."""
_QUERY = {"?", "&", "#", "%3F", "%26", "%23"}
"""What stands before a name in an address's query."""
_LOOSE = re.compile(r"^token$|credential|signature")
"""Names that prose uses before a colon: `unexpected token: ]`."""
_WHOLE_LINE = re.compile(r"authorization|cookie")
_BARE = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|hf_(?:oauth|jwt)_[\w.-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|github_pat_\w{20,}|glpat-[\w-]{16,}|sk-[\w-]{20,}|xox[abprs]-[\w-]{10,}|dapi[0-9a-f]{32}"
    r"|SG\.[\w-]{16,}\.[\w-]{16,}|ya29\.[\w-]{20,}|AGE-SECRET-KEY-1\w+|(?<=hooks\.slack\.com/services/)[\w/]+"
    r"|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{16,}|AIza[\w-]{30,}|A[KS]IA[0-9A-Z]{16}|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?)"
    r"|(?i:(?<=\bBearer )|(?<=\bBasic ))[A-Za-z0-9._~+/=-]{8,}"
)
"""Tokens that are told by their looks: of Hugging Face, GitHub, GitLab, Databricks, AWS, ..."""
_AFTER = re.compile(
    r"(?<!\S)(?:-u|--(?:proxy-)?user)[ =][\"']?[\w.+@-]{1,100}:(?=[^\s*])"  # of curl
    r"|\b(?:sshpass|mysql(?:dump|admin)?|mariadb|docker login)\b[^\n]{0,100}?[ ]-p[ ]?(?=[^\s*])"
    r"|\blogin[ ][\w.@+-]{1,100}(?:\s|\\{1,9}n){1,20}password[ ](?=[^\s*])"  # of ~/.netrc
    r"|\bjdbc:oracle:\w+:[^/\s]{1,100}/(?=[^\s@*]+@)"
    r"|\b(?i:api|access|secret|private) (?i:key)[ \t]*[:=][ \t]*(?=[^\s*])"
)
"""What commands and files of other tools have before a secret, which has no name of its own."""
_ITSELF = re.compile(r"[^\s@]+")
_PEM = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:(?!-----END).)*+(?:-----END [A-Z ]{0,30}KEY-----|)",
    re.DOTALL,
)
_PAIR = re.compile(
    r"(?P<before>--|[?&#;]|%3F|%26|%23|(?<![\w.%]))"
    r"(?P<open>\\{0,9}[\"'])?(?P<name>\w(?:[\w.+\[\]-]|%(?!3[ADF]|2[36F])){0,80})(?(open)(?P=open)|)"
    r"(?P<sign>[ \t]*(?:=>|:=|->|=|:|%3D|%3A)[ \t]*(?:[|>][+-]?)?(?:\n[ \t]+)?"
    r"|(?<=[\"'])\][ \t]*=[ \t]*"
    r"|(?<=[\w\"'])[ \t]*+,?[ \t]*+(?:(?:\n|\\{1,9}n)[ \t]*+)?"
    r"[\"']?(?<!\w)value[\"']?[ \t]*[:=][ \t]*"
    r"|(?<=[\"'])[ \t]*,[ \t]*(?=[\"']|b[\"'])"
    r"|(?<=\w)>(?=[^\s<=])|(?<=\w)[ \t]+)",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r"[bru]?(?P<mark>\\*+[\"'])(?:(?!(?P=mark))(?:\\++.|[^\n\\]))*+(?P=mark)"
    r"(?:(?P=mark)(?:(?!(?P=mark))(?:\\++.|[^\n\\]))*+(?P=mark))*+"  # 'it''s', as in SQL
)
_BRACKET = re.compile(r"[\[{(\]})]")
_LONGEST_GROUP = 4000  # characters
_LOGIN = re.compile(r"(?<![\w/:.@+-])([\w.+-]+):[^\s/:@\"'*]+(?=@[\w-]+(?:[./:\s]|$))")
_TO_NEXT = re.compile(r"[^&\"\n]*(?=&[\w.%-]+=)")
_TO_BLANK = re.compile(r"(?:\\ |[^\s&\"])*(?<![,;')\]}])")
_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*:)?//")
_AUTHORITY = re.compile(r"[^/?#\s]*")
_PATH = re.compile(r"[^?#\s\"']*")
_PORT = re.compile(r"(?:\[[^\]]*\]|[^:]*)(?::\d*)?")
_ENCODED = re.compile(r"(%3A%2F%2F)(?!\*)\S{0,500}(%40)", re.IGNORECASE)


def masked(text: str) -> str:
    """The text without the users, passwords and tokens that it holds.

    A password that is hidden already stays beside its user's name.
    """
    text = _ENCODED.sub(rf"\1{HIDDEN}\2", _hide_users(text))
    text = _LOGIN.sub(rf"\1:{HIDDEN}", text)
    return _BARE.sub(HIDDEN, _PEM.sub(HIDDEN, _hide_after(hide_named(text))))


def _hide_after(text: str) -> str:
    done, at = [], 0
    while found := _AFTER.search(text, at):
        done.append(text[at : found.end()])
        secret = _QUOTED.match(text, found.end()) or _ITSELF.match(text, found.end())
        at = found.end() if secret is None else secret.end()
        done.append(HIDDEN if secret else "")
        if secret is None:
            break
    return "".join([*done, text[at:]])


def is_secret(name: str, *, in_query: bool = True) -> bool:
    """Whether the value of what has this name, percent-encoded or not, is a secret."""
    plain = _plain(name)
    return bool(_SECRET.search(plain)) or (in_query and plain in _IN_QUERY)


def hide_named(text: str) -> str:
    """The text without the values of what is called a password, a token or the like."""
    done, at = [], 0
    while found := _PAIR.search(text, at):
        end = found.end()
        if not _names_secret(found):
            end = found.end("name")  # what follows may be a name itself
            done.append(text[at:end])
        else:
            done.append(text[at:end])
            value = _value(text, end, found)
            kept = value == end or text[end:value].strip("\"'\\/>") == HIDDEN
            done.append(text[end:value] if kept else HIDDEN)
            end = value
        at = end
    return "".join([*done, text[at:]])


def _names_secret(found: re.Match[str]) -> bool:
    name, sign = found["name"], found["sign"].strip().lower()
    if not is_secret(name, in_query=found["before"].upper() in _QUERY or sign == "%3d"):
        return False
    if not sign:
        return found["before"] == "--"  # of a command line
    return not (
        (sign in (":", "%3a") or "value" in sign)
        and not found["open"]
        and _LOOSE.search(_plain(name))
    )


def _value(text: str, start: int, found: re.Match[str]) -> int:
    """Where the value ends that begins here."""
    if quoted := _QUOTED.match(text, start):
        return quoted.end()
    if text[start : start + 1] in ("{", "[", "("):
        return _closed(text, start)
    if text[start : start + 1] in ('"', "'", "\\") or (  # cut off within the quotes
        _WHOLE_LINE.search(_plain(found["name"])) and not found["open"]
    ):
        line = text.find("\n", start)
        return len(text) if line < 0 else line
    next_pair = _TO_NEXT.match(text, start) if found["before"].upper() in _QUERY else None
    to_blank = _TO_BLANK.match(text, start)
    return max(one.end() for one in (next_pair, to_blank) if one) if to_blank else start


def _closed(text: str, start: int) -> int:
    """Where the bracket is closed that begins here; else the end of what is looked at."""
    depth, last = 0, min(len(text), start + _LONGEST_GROUP)
    for bracket in _BRACKET.finditer(text, start, last):
        depth += 1 if bracket[0] in "{[(" else -1
        if depth == 0:
            return bracket.end()
    return last


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", unquote(name).lower())


def _hide_users(text: str) -> str:
    """Addresses without user and password: what stands before an @ of the authority."""
    done, at = [], 0
    while found := _ADDRESS.search(text, at):
        start = found.end()
        done.append(text[at:start])
        authority = _AUTHORITY.match(text, start)
        assert authority is not None
        at = authority.end()
        if ":" in authority[0].rpartition("@")[0]:  # the password may go on: p@w/x@host
            path = _PATH.match(text, at)
            at = max(at, at + path[0].rfind("@") + 1 if path else at)
        elif "@" not in authority[0] and not _PORT.fullmatch(authority[0]):
            # no host and port: a password with a blank or one of / ? # in it
            line = text.find("\n", start)
            at = max(at, text.rfind("@", start, len(text) if line < 0 else line) + 1)
        users, sign, host = text[start:at].rpartition("@")
        if sign and not users.endswith(f":{HIDDEN}"):
            users = HIDDEN
        done.append(users + sign + host)
    return "".join([*done, text[at:]])
