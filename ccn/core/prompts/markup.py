"""The marks that separate the layers of a prompt, and the escaping that keeps people from writing one.

A layer stands between `<ccn:plate>` and `</ccn:plate>`. In what people say, the `<` of such a mark is
escaped. That also holds if the mark is spaced out, written in letters that look like its own, or mixed with
characters that nobody sees. All other text stays as it is, other markup included: people talk about HTML.
"""

from __future__ import annotations

import re

from ccn.core.prompts import lookalike

SPACE = "ccn"
"""The name space of the layers."""

_BEGINS = "<＜﹤‹˂ᐸ❮❬⟨〈〈⧼≮\U0001d236\U000e003c"
_MARK = f"{SPACE}:"
# Of most markup its first letter tells that it is none of ours, without a look at each character.
_BEGIN = re.compile(rf"[{_BEGINS}](?![\s/\\]*[\x21-\x2e0-B@D-\[\]-bd-~])")
_QUOTED = "&lt;"


def wrap_layer(name: str, text: str, /, **attributes: object) -> str:
    """A layer of this name around a text, which is escaped already or ours."""
    written = "".join(f' {key}="{escape_attribute(value)}"' for key, value in attributes.items())
    return f"<{SPACE}:{name}{written}>\n{text}\n</{SPACE}:{name}>"


def escape_marks(text: str) -> str:
    """What somebody said, unable to open or close a layer; anything else in it stays as it was."""
    if not _may_have_mark(text):
        return text
    return _BEGIN.sub(
        lambda begun: _QUOTED if lookalike.spells_word(text, _MARK, begun.end()) else begun[0], text
    )


def has_mark(text: str) -> bool:
    """Whether a text has a mark in it that would be escaped."""
    return _may_have_mark(text) and any(
        lookalike.spells_word(text, _MARK, begun.end()) for begun in _BEGIN.finditer(text)
    )


def escape_attribute(value: object) -> str:
    """Something inside the mark of a layer, where quotes count as well."""
    text = " ".join(str(value).split())
    text = text.replace("&", "&amp;").replace("<", _QUOTED).replace(">", "&gt;").replace('"', "&quot;")
    return escape_marks(text)


def quote_beginning(text: str, at_most: int) -> str:
    """The beginning of what somebody said, on one line."""
    return escape_marks(shorten_text(text, at_most))


def shorten_text(text: str, at_most: int) -> str:
    """Shorten what somebody said to one line, without escaping it."""
    line = " ".join(text[: 4 * at_most].split())
    return line if len(line) <= at_most else line[: at_most - 1].rstrip() + "…"


def _may_have_mark(text: str) -> bool:
    """Tell whether there may be a mark. A full look takes a thousand times as long."""
    return "<" in text or (not text.isascii() and any(begin in text for begin in _BEGINS))
