"""Finds a short ASCII word in a text even if it is disguised: in similar letters, or spread out.

Readers take more characters for a letter than Unicode's compatibility forms (NFKC) list: Greek and Cyrillic
have letters that look like Latin ones, flags are made of letters, and tags are letters that nobody sees.
Between two letters may stand anything that has no width or that a hasty reader passes over.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_PASSED_OVER = "/\\⁄∕⧸╱⟋⧵∖"
"""What separates nothing for a hasty reader, besides blanks and what has no width."""
_FILLERS = "\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Letters and signs by their category, that show nothing."""
_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Me", "Mn", "Sk", "Zl", "Zp", "Zs"})
_SAME = {
    "c": "ᴄсϲⲥꮯꞓƈↅᏟꓚ𐐕𐐽©∁¢ⲤСϹ🄫🅍",
    "n": "ɴոռηƞŋɲɳᴎΝⲚꓠᶰпИ",
    ":": "ː˸։׃܃܄ः᛬᠃᠉⁚∶꞉︓፡∷",
}
_ALPHABETS = (
    0x1F1E6,  # regional indicators, of which flags are made
    0x1F150,  # circled in black
    0x1F170,  # squared in black
)
"""Where alphabets begin whose letters are no compatibility forms of A to Z."""
_TAGS = 0xE0000
"""Tags: the whole of ASCII once more, and nobody sees it."""


def spells_word(text: str, word: str, at: int) -> bool:
    """Whether a reader can read this word from this place on.

    All readings are followed at once: a tag can be a letter, and it can be nothing.
    """
    reached = {0}
    for place in range(at, len(text)):
        sounds, nothing = _readings_of(text[place])
        reached = {
            *(length + len(sounds) for length in reached if sounds and word.startswith(sounds, length)),
            *(reached if nothing else ()),
        }
        if len(word) in reached:
            return True
        if not reached:
            return False
    return False


@lru_cache(maxsize=4096)
def _readings_of(c: str) -> tuple[str, bool]:
    """The letters of ASCII that a character can be read as, and whether it can be passed over."""
    code = ord(c)
    if _TAGS < code < _TAGS + 0x80:
        return chr(code - _TAGS).lower(), True
    for first in _ALPHABETS:
        if first <= code < first + 26:
            return chr(ord("a") + code - first), False
    for letter, same in _SAME.items():
        if c in same:
            return letter, False
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", c).casefold())
    sounds = "".join(each for each in plain if each.isalnum() or each == ":")
    nothing = unicodedata.category(c) in _UNSEEN or c in _PASSED_OVER or c in _FILLERS or plain == "/"
    return (sounds if sounds.isascii() else ""), nothing
