"""What separates the layers of a prompt, and why nothing that somebody says can end one.

A layer stands between `<ccn:plate>` and `</ccn:plate>`. Whatever people say is shown without its `<` where
that begins such a mark, also if the mark is spaced out, of full width or strewn with characters nobody
sees. Other markup stays as it is: people talk about HTML.
"""

from __future__ import annotations

import re

SPACE = "ccn"
"""The name space of the layers."""

_BETWEEN = (
    r"[\s/／⁄∕\\\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]*"
)
_BEGINS = "<＜﹤"
_OPENS = re.compile(
    rf"[{_BEGINS}](?={_BETWEEN}[cｃ]{_BETWEEN}[cｃ]{_BETWEEN}[nｎ]{_BETWEEN}[:：﹕︓ː∶])", re.IGNORECASE
)
_QUOTED = "&lt;"


def wrapped(name: str, text: str, /, **attributes: object) -> str:
    """A layer of this name around a text, which is escaped already or ours."""
    told = "".join(f' {key}="{attribute(value)}"' for key, value in attributes.items())
    return f"<{SPACE}:{name}{told}>\n{text}\n</{SPACE}:{name}>"


def escaped(said: str) -> str:
    """What somebody said, unable to open or close a layer; anything else in it stays as it was."""
    return _OPENS.sub(_QUOTED, said) if _suspect(said) else said


def opens(text: str) -> bool:
    """Whether a text has a mark in it that would be escaped."""
    return _suspect(text) and _OPENS.search(text) is not None


def attribute(value: object) -> str:
    """Something inside the mark of a layer, where quotes count as well."""
    text = " ".join(str(value).split())
    text = text.replace("&", "&amp;").replace("<", _QUOTED).replace(">", "&gt;").replace('"', "&quot;")
    return escaped(text)


def quoted(said: str, at_most: int) -> str:
    """The beginning of what somebody said, on one line."""
    return escaped(shortened(said, at_most))


def shortened(said: str, at_most: int) -> str:
    """The same, not escaped yet."""
    line = " ".join(said[: 4 * at_most].split())
    return line if len(line) <= at_most else line[: at_most - 1].rstrip() + "…"


def _suspect(text: str) -> bool:
    """Looked for first, because it takes a thousandth of the time."""
    return "<" in text or (not text.isascii() and any(begin in text for begin in _BEGINS))
