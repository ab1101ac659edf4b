"""From a text to its words, and whether there are enough of them to say anything about a character.

Separate from the features because every tier reads a text the same way: lower case, curly apostrophes
made straight, code taken out, and each word behind a negation marked, so that "never worry" and "worry"
are different words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

FEWEST = 5
"""Words below which nothing can be observed."""
MOST = 2_000
"""Words that are read; a longer text is judged by its beginning, so that its cost has an end."""
NEGATED = "~"
"""Stands before a word that a negation reaches."""

_REACH = 6  # words
_NEGATIONS = frozenset(
    re.findall(
        r"\w+",
        """
        not no never nothing nobody none neither nor without cannot hardly rarely seldom dislike hate avoid
        lack lacks dont doesnt didnt isnt arent wasnt wont wouldnt shouldnt cant
        """,
    )
)
_FENCED = re.compile(r"(```|~~~).*?(?:\1|\Z)", re.DOTALL)
_INLINE = re.compile(r"`[^`\n]{1,200}`")
_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+|[!?:;*#\"()—…-]+|[^\s\w!?:;*#\"()—…-]+|_+")
_MARKS_OF_CODE = re.compile(
    r"[{};=<>\\|]|\w\(|\w\.\w+\(|^\s*(?:def|class|import|from|return|#include)\b", re.MULTILINE
)
_CHARACTERS_READ = 40_000
_CODE_SHARE = 0.06  # of the characters; prose with a formula in it stays far below
_CODE_LEAST = 4


def split_words(text: str) -> list[str]:
    """Split the prose of a text into words, numbers and punctuation, at most MOST. Code is left out."""
    clean = text[:_CHARACTERS_READ].encode(errors="ignore").decode()  # half a surrogate pair is no letter
    prose = _INLINE.sub(" ", _FENCED.sub(" ", clean))
    if _looks_like_code(prose):
        return []
    return _TOKEN.findall(prose.lower().replace("\u2019", "'"))[:MOST]


def are_enough(words: Sequence[str]) -> bool:
    """Return whether these are at least FEWEST words. Numbers and punctuation do not count."""
    return sum(word[0].isalpha() for word in words) >= FEWEST


def mark_negated(words: Sequence[str]) -> list[str]:
    """Mark each word that follows a negation, until the clause ends."""
    out, left = [], 0
    for word in words:
        if word in _NEGATIONS or word.endswith("n't"):
            left = _REACH
            out.append(word)
            continue
        if not word[0].isalnum():
            left = 0
        out.append(NEGATED + word if left > 0 else word)
        left -= 1
    return out


def _looks_like_code(prose: str) -> bool:
    marks = len(_MARKS_OF_CODE.findall(prose))
    return marks >= _CODE_LEAST and marks > _CODE_SHARE * len(prose)
