"""From words to the numbers that a sentence encoder of the BERT family knows them by: WordPiece.

Written here because the usual library for it brings a client for downloading models and a dozen packages
more, and this is a page. It is pure: whoever read the vocabulary hands it in. Longest piece first, as the
models were trained; a word of which no cutting is known is one unknown piece.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ccn import errors

MOST = 256
"""Pieces of a text that are read, both ends included; what MiniLM was trained on."""
_LONGEST = 100  # letters of a word; a longer one is unknown
_CONTINUES = "##"
_FIRST, _LAST, _UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
_BLANKS = "\t\n\r"
_ASCII_SIGNS = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The number of every piece; a cased one keeps capitals and accents."""

    numbers: Mapping[str, int]
    cased: bool = False

    def __post_init__(self) -> None:
        """Refuse one without the pieces that frame a text."""
        missing = [piece for piece in (_FIRST, _LAST, _UNKNOWN) if piece not in self.numbers]
        if missing:
            raise errors.InputInvalid(f"this vocabulary has no {', '.join(missing)}")


def encode_text(vocabulary: Vocabulary, text: str) -> list[int]:
    """Return the numbers of a text's pieces, at most MOST, between the two that frame it."""
    numbers = [vocabulary.numbers[_FIRST]]
    for word in _split_words(text if vocabulary.cased else _strip_accents(text)):
        numbers += _cut_word(vocabulary.numbers, word)
        if len(numbers) >= MOST:
            break
    return [*numbers[: MOST - 1], vocabulary.numbers[_LAST]]


def vocabulary_from_list(content: str) -> Vocabulary:
    """Read a vocabulary from a `vocab.txt`, where each line is a piece and its place the number."""
    return Vocabulary({line: number for number, line in enumerate(content.rstrip("\n").split("\n"))})


def vocabulary_from_json(content: str) -> Vocabulary:
    """Read a vocabulary from a `tokenizer.json`. One that cuts words in another way is refused."""
    try:
        document = json.loads(content)
        model, normal = document["model"], document.get("normalizer") or {}
        kind, continues = model.get("type", "WordPiece"), model.get("continuing_subword_prefix", _CONTINUES)
        if (kind, continues, normal.get("type", "BertNormalizer")) != (
            "WordPiece",
            _CONTINUES,
            "BertNormalizer",
        ):
            raise errors.InputInvalid(f"this tokenizer is {kind}, not the WordPiece of BERT")
        numbers = {str(piece): int(number) for piece, number in model["vocab"].items()}
        return Vocabulary(numbers, cased=not normal.get("lowercase", True))
    except (ValueError, KeyError, TypeError, AttributeError) as broken:
        raise errors.InputInvalid(f"this is no tokenizer.json: {broken!r}") from broken


def _split_words(text: str) -> Iterator[str]:
    """Runs of letters, and every sign and ideograph by itself."""
    word = ""
    for letter in text:
        alone = _is_sign(letter) or _is_ideograph(letter)
        if alone or letter in _BLANKS or (letter.isspace() and not _is_control(letter)):
            if word:
                yield word
            word = ""
            if alone:
                yield letter
        elif not _is_control(letter):
            word += letter
    if word:
        yield word


def _cut_word(numbers: Mapping[str, int], word: str) -> Sequence[int]:
    """Cut off the longest known beginning, then the longest known continuation, and so on."""
    pieces, start = list[int](), 0
    while start < len(word) <= _LONGEST:
        for end in range(len(word), start, -1):
            piece = word[start:end] if start == 0 else _CONTINUES + word[start:end]
            if piece in numbers:
                pieces.append(numbers[piece])
                start = end
                break
        else:
            return [numbers[_UNKNOWN]]
    return pieces or [numbers[_UNKNOWN]]


def _strip_accents(text: str) -> str:
    """Small letters without accents."""
    apart = unicodedata.normalize("NFD", text.lower())
    return "".join(letter for letter in apart if unicodedata.category(letter) != "Mn")


def _is_sign(letter: str) -> bool:
    return letter in _ASCII_SIGNS or unicodedata.category(letter).startswith("P")


def _is_ideograph(letter: str) -> bool:
    return letter >= "\u3400" and any(first <= ord(letter) <= last for first, last in _IDEOGRAPHS)


def _is_control(letter: str) -> bool:
    return letter == "\ufffd" or unicodedata.category(letter).startswith("C")
