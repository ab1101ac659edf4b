"""Recognises passwords that a guesser would try first, by how they are made and not by a long list.

Most leaked passwords are one of a few words with digits around it, a row of keys, or a short text repeated.
"""

from __future__ import annotations

import re

_COMMON_WORDS = """
    abc access account admin administrator asdf baseball blue changeme charlie computer default
    dragon family football freedom geheim hallo hello iloveyou killer letmein login love master
    michael money monkey mustang pass passw password passwort pokemon princess purple qazwsx
    qwer qwerty qwertz root secret shadow soccer spring starwars summer sunshine superman test
    tester testing trustno user welcome whatever willkommen winter autumn
"""
_WORDS = frozenset(_COMMON_WORDS.split())
_ROWS = (
    "01234567890123456789",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "1q2w3e4r5t6y7u8i9o0p",
    "qazwsxedcrfvtgbyhnujm",
)
_LOOKALIKES = str.maketrans("@$!013457", "asioleast")


def is_common(password: str) -> bool:
    """Whether a password is among the first that a guesser would try."""
    folded = password.casefold()
    once = _drop_repetition(folded)
    without_end = re.sub(r"[\W\d_]+$", "", once)
    bare = re.sub(r"^[\W\d_]+", "", without_end)
    words = {each.translate(signs) for each in (once, without_end, bare) for signs in ({}, _LOOKALIKES)}
    in_a_row = any(once in row or once[::-1] in row for row in _ROWS)
    return len(set(folded)) < 3 or in_a_row or not words.isdisjoint(_WORDS)


def _drop_repetition(text: str) -> str:
    """Reduce a text that repeats one part to that part."""
    match = re.fullmatch(r"(.{1,12}?)\1+", text, re.DOTALL)
    return match[1] if match else text
