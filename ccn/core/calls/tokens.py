"""How many tokens a text will cost, guessed on the safe side without the model's tokenizer.

A token is never shorter than a byte, and seldom that short. What is counted here: every word is a token per
four letters begun; every digit, sign and line break is one more and ends the word it stands in; so is every
second blank in a row; a character of two, three or four bytes is 1, 2 or 4. English comes out a third above
what models count, so a budget in these tokens is kept with a margin. All of it is counted in C, a megabyte
in some ten milliseconds.
"""

from __future__ import annotations

import string

PER_BLOCK = 8
"""What a role, a mark and the ends of a message cost around its text."""

_SIGNS = bytes({*range(32), 127} | set((string.digits + string.punctuation).encode()))
_SHAPES = bytes.maketrans(
    bytes(range(128)),
    bytes(ord("." if byte in _SIGNS else " " if byte == ord(" ") else "a") for byte in range(128)),
)


def estimate_tokens(text: str) -> int:
    """At least as many tokens as the text will take, for any text that people write."""
    if text.isascii():
        return PER_BLOCK + _count_ascii_tokens(text.encode("ascii"))
    foreign = len(text) - len(text.encode("ascii", "ignore"))
    four = len(text.encode("utf-16-le", "surrogatepass")) // 2 - len(text)
    plain, short = len(text) - foreign, foreign - four  # short: characters of two or three bytes
    three = len(text.encode("utf-8", "surrogatepass")) - plain - 4 * four - 2 * short
    return PER_BLOCK + _count_ascii_tokens(text.encode("ascii", "replace")) + three + 3 * four


def bound_tokens(text: str) -> int:
    """What no estimate exceeds, at no cost: for whoever has room for that anyhow."""
    return PER_BLOCK + 1 + len(text) * (1 if text.isascii() else 4)


def _count_ascii_tokens(plain: bytes) -> int:
    """The same for a text whose foreign characters are signs already."""
    shape = b" " + plain.translate(_SHAPES)
    signs, letters = shape.count(b"."), shape.count(b"a")
    words = shape.count(b" a") + shape.count(b".a")
    return signs + shape.count(b"  ") + -(-(3 * words + letters) // 4)
