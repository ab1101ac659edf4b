"""What the stand-in answers when an object of a JSON schema is wanted: a valid one, always the same.

A number with the name of an axis of the character is a score of the text in the request. It rises with
sentences of the axis's high voice and falls with those of its low one. It is null, if it may be, where
neither shows. Everything else is as small as the schema allows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from ccn.claude.stand_in.voices import VOICES

Schema = Mapping[str, Any]
DEPTH = 16
_WORD = re.compile(r"[a-z']+")


def fill_schema(schema: Schema, text: str) -> object:
    """Make a value that the schema accepts."""
    return _fill_value(schema, text, "", schema.get("$defs", {}), DEPTH)


def score_axis(axis: str, text: str) -> float | None:
    """Score how much of an axis a text shows, from 0 to 1. None if it shows nothing of it."""
    pairs = _word_pairs(text)
    high, low = (len(pairs & _marking_pairs(axis, pole)) for pole in ("high", "low"))
    return None if high + low == 0 else round(high / (high + low), 3)


def _fill_value(schema: Schema, text: str, name: str, defs: Schema, depth: int) -> object:
    if depth == 0:
        return None
    if "$ref" in schema:
        return _fill_value(defs[schema["$ref"].rpartition("/")[2]], text, name, defs, depth - 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    choices = schema.get("anyOf") or schema.get("oneOf") or _split_types(schema)
    if any(_is_numeric(choice) for choice in choices) and name in VOICES:
        return _fill_score(choices, text, name)
    return _fill_plain(choices[0], text, name, defs, depth) if choices else None


def _fill_plain(schema: Schema, text: str, name: str, defs: Schema, depth: int) -> object:
    match schema.get("type"):
        case "object":
            return {
                key: _fill_value(property_, text, key, defs, depth - 1)
                for key, property_ in schema.get("properties", {}).items()
            }
        case "array":
            return [_fill_value(schema.get("items", {}), text, name, defs, depth - 1)] * schema.get(
                "minItems", 0
            )
        case "string":
            return (f"{name}." if name else ".").ljust(schema.get("minLength", 0), ".")
        case None:
            return _fill_value(schema, text, name, defs, depth - 1)
        case kind:
            return {
                "integer": schema.get("minimum", 0),
                "number": schema.get("minimum", 0),
                "boolean": False,
            }.get(kind)


def _fill_score(choices: list[Schema], text: str, axis: str) -> object:
    score = score_axis(axis, text)
    if score is None and any(choice.get("type") == "null" for choice in choices):
        return None
    numeric = next(choice for choice in choices if _is_numeric(choice))
    low, high = numeric.get("minimum", 0), numeric.get("maximum", 1)
    placed = low + (high - low) * (0.5 if score is None else score)
    return round(placed) if numeric["type"] == "integer" else placed


def _split_types(schema: Schema) -> list[Schema]:
    """Make of a schema with several types as many with one."""
    types = schema.get("type", "object" if "properties" in schema else "null")
    return [{**schema, "type": name} for name in ([types] if isinstance(types, str) else types)]


def _is_numeric(schema: Schema) -> bool:
    return schema.get("type") in {"number", "integer"}


@cache
def _marking_pairs(axis: str, pole: str) -> frozenset[tuple[str, str]]:
    """Find the pairs of neighbouring words that only this voice uses."""
    own = _voice_pairs(axis, pole)
    others = {pair for other in VOICES for side in ("high", "low") if (other, side) != (axis, pole)
              for pair in _voice_pairs(other, side)}  # fmt: skip
    return frozenset(own - others)


@cache
def _voice_pairs(axis: str, pole: str) -> frozenset[tuple[str, str]]:
    sentences: tuple[str, ...] = getattr(VOICES[axis], pole)
    return frozenset(
        pair for sentence in sentences for part in sentence.split("{topic}") for pair in _word_pairs(part)
    )


def _word_pairs(text: str) -> frozenset[tuple[str, str]]:
    words = _WORD.findall(text.casefold().replace("’", "'"))
    return frozenset(pairwise(words))
