"""What the stand-in answers when an object of a JSON schema is wanted: a valid one, always the same.

A number called like an axis of the character is a score of the text in the request: it rises with
sentences of the axis's high voice and falls with those of its low one, and is null, if it may be, where
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
    """A value that the schema accepts."""
    return _fill_value(schema, text, "", schema.get("$defs", {}), DEPTH)


def score_axis(axis: str, text: str) -> float | None:
    """How much of an axis a text shows, from 0 to 1; None if nothing of it."""
    said = _word_pairs(text)
    high, low = (len(said & _marking_pairs(axis, pole)) for pole in ("high", "low"))
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
    if any(_is_numeric(each) for each in choices) and name in VOICES:
        return _fill_score(choices, text, name)
    return _fill_plain(choices[0], text, name, defs, depth) if choices else None


def _fill_plain(schema: Schema, text: str, name: str, defs: Schema, depth: int) -> object:
    match schema.get("type"):
        case "object":
            return {
                key: _fill_value(each, text, key, defs, depth - 1)
                for key, each in schema.get("properties", {}).items()
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
    shown = score_axis(axis, text)
    if shown is None and any(each.get("type") == "null" for each in choices):
        return None
    numeric = next(each for each in choices if _is_numeric(each))
    low, high = numeric.get("minimum", 0), numeric.get("maximum", 1)
    placed = low + (high - low) * (0.5 if shown is None else shown)
    return round(placed) if numeric["type"] == "integer" else placed


def _split_types(schema: Schema) -> list[Schema]:
    """A schema with several types is as many with one."""
    named = schema.get("type", "object" if "properties" in schema else "null")
    return [{**schema, "type": each} for each in ([named] if isinstance(named, str) else named)]


def _is_numeric(schema: Schema) -> bool:
    return schema.get("type") in {"number", "integer"}


@cache
def _marking_pairs(axis: str, pole: str) -> frozenset[tuple[str, str]]:
    """Pairs of neighbouring words that only this voice uses."""
    own = _voice_pairs(axis, pole)
    others = {pair for other in VOICES for side in ("high", "low") if (other, side) != (axis, pole)
              for pair in _voice_pairs(other, side)}  # fmt: skip
    return frozenset(own - others)


@cache
def _voice_pairs(axis: str, pole: str) -> frozenset[tuple[str, str]]:
    sentences: tuple[str, ...] = getattr(VOICES[axis], pole)
    return frozenset(
        pair for each in sentences for part in each.split("{topic}") for pair in _word_pairs(part)
    )


def _word_pairs(text: str) -> frozenset[tuple[str, str]]:
    found = _WORD.findall(text.casefold().replace("’", "'"))
    return frozenset(pairwise(found))
