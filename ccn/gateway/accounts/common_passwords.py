"""Passwords that whoever guesses tries first: refused by how they are made, and not by a long list.

What leaks most is a handful of words with digits around them, rows of keys, and short things said twice.
"""

from __future__ import annotations

import re

_LISTED = """
    abc access account admin administrator asdf baseball blue changeme charlie computer default
    dragon family football freedom geheim hallo hello iloveyou killer letmein login love master
    michael money monkey mustang pass passw password passwort pokemon princess purple qazwsx
    qwer qwerty qwertz root secret shadow soccer spring starwars summer sunshine superman test
    tester testing trustno user welcome whatever willkommen winter autumn
"""
_WORDS = frozenset(_LISTED.split())
_ROWS = (
    "01234567890123456789",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "1q2w3e4r5t6y7u8i9o0p",
    "qazwsxedcrfvtgbyhnujm",
)
_PLAIN = str.maketrans("@$!013457", "asioleast")


def is_common(password: str) -> bool:
    """Whether it is among the first that anybody would try."""
    typed = password.casefold()
    once = _drop_repetition(typed)
    ended = re.sub(r"[\W\d_]+$", "", once)
    bare = re.sub(r"^[\W\d_]+", "", ended)
    words = {each.translate(signs) for each in (once, ended, bare) for signs in ({}, _PLAIN)}
    in_a_row = any(once in row or once[::-1] in row for row in _ROWS)
    return len(set(typed)) < 3 or in_a_row or not words.isdisjoint(_WORDS)


def _drop_repetition(text: str) -> str:
    """What is said over and over, said once."""
    found = re.fullmatch(r"(.{1,12}?)\1+", text, re.DOTALL)
    return found[1] if found else text
