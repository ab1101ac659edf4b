"""Short pieces of long messages, so that a head also knows its trait in two sentences.

A model trained on whole messages alone leans on how they open and how they are laid out. Pieces carry less
weight in training, because not every sentence of a message shows its trait.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import replace

from scripts.scorer.corpus import Sample

_ENDS = re.compile(r"(?<=[.!?])\s+|\n+")
_WORDS = 4  # a heading or a number of a list is no sentence
_FEWEST = 3  # sentences


def sentences(text: str) -> list[str]:
    """Split a text into its sentences, without headings."""
    return [part for part in _ENDS.split(text) if len(part.split()) >= _WORDS]


def pieces(sample: Sample) -> Iterator[Sample]:
    """Cut the beginning of a message, and a few sentences from somewhere in it: always the same ones."""
    said = sentences(sample.text)
    if not sample.is_message or len(said) < _FEWEST:
        return
    chosen = zlib.crc32(sample.text.encode())
    at, count = chosen % (len(said) - 2), 1 + chosen // 7 % 3
    yield replace(sample, text=" ".join(said[: 1 + chosen // 3 % 2]))
    yield replace(sample, text=" ".join(said[at : at + count]))
