"""What tier 1 sees of a text: which words, pairs and beginnings of words occur, as places in one table.

Only whether something occurs counts, not how often, so every sum over the table is a sum of integers and
the same on every machine. A feature has two places: one for all texts, one for texts of its kind, because
"I never lie" said of oneself and inside a page of advice are different evidence. Length is no feature:
it separates many traits in training data and means nothing.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ccn.core.character.scoring.words import NEGATED, mark_negated

TABLE = 1 << 15
"""Places that the features share."""

Places = npt.NDArray[np.int64]

_ONE_STATEMENT = 40  # words
_BEGINNING = 5  # letters
_OF_MESSAGES, _OF_STATEMENTS = 0x2AAA, 0x5555
"""Turn the second place of a feature into that of a kind of text."""
_ENDS = frozenset(".!?…")
_BARE = frozenset(
    (".", ",", "~.", "~,")
)  # whether somebody ends a lone sentence with a full stop says nothing


def find_places(words: Sequence[str]) -> Places:
    """Return the distinct places of a text's features in the table, in ascending order."""
    kind = _kind_of(words)
    hashed = np.fromiter(map(zlib.crc32, map(str.encode, name_features(words))), dtype=np.int64)
    return np.unique(np.concatenate([hashed % TABLE, (hashed >> 16 ^ kind) % TABLE]))


def name_features(words: Sequence[str]) -> Iterable[str]:
    """Name the features of a text: words, pairs of neighbours, beginnings of long words, and surface."""
    said = mark_negated(words)
    found = dict.fromkeys(word for word in said if word not in _BARE)
    pairs = itertools.pairwise(said)
    found.update(dict.fromkeys(f"{first} {then}" for first, then in pairs if "." not in (first, then)))
    found.update(dict.fromkeys(_word_beginning(word) for word in said if len(word) > _BEGINNING + 1))
    found.update(dict.fromkeys(_surface_features(words)))
    return found


def places_of(key: str, words: Sequence[str]) -> tuple[int, int]:
    """Return the places of a feature."""
    return _hash_places(key, _kind_of(words))


def is_statement(words: Sequence[str]) -> bool:
    """Return whether a text is one short sentence and not a message of several."""
    return (
        len(words) <= 2 * _ONE_STATEMENT
        and sum(word[0].isalpha() for word in words) <= _ONE_STATEMENT
        and sum(word[0] in _ENDS for word in words) <= 1
    )


def _kind_of(words: Sequence[str]) -> int:
    return _OF_STATEMENTS if is_statement(words) else _OF_MESSAGES


def _hash_places(key: str, kind: int) -> tuple[int, int]:
    hashed = zlib.crc32(key.encode())
    return hashed % TABLE, (hashed >> 16 ^ kind) % TABLE


def _word_beginning(word: str) -> str:
    mark = NEGATED if word.startswith(NEGATED) else ""
    return mark + word.removeprefix(NEGATED)[:_BEGINNING] + "*"


def _surface_features(words: Sequence[str]) -> list[str]:
    """Measure in a few steps how many marks a text has. A missing mark is no evidence."""
    counted = dict.fromkeys(_MARKS, 0)
    for word in words:
        if not word[0].isalpha():
            for name, marks in _MARKS.items():
                if word[0] in marks:
                    counted[name] += 1
    length = max(len(words), 1)
    return [f"<{name} {_density_step(1000 * count // length)}>" for name, count in counted.items() if count]


_MARKS = {
    "exclaims": "!",
    "asks": "?",
    "lists": "*#",
    "quotes": '"“”',
    "counts": "0123456789",
    "pauses": "…—",
}


def _density_step(per_mille: int) -> int:
    return next((step for step, bound in enumerate((1, 5, 12, 25, 50)) if per_mille < bound), 5)
