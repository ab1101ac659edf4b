"""Objects of a schema, and scores that follow the text."""

from __future__ import annotations

import pytest

from ccn.claude.stand_in import structured
from ccn.claude.stand_in.voices import VOICES

NUMBER = {"type": "number", "minimum": 0, "maximum": 1}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "minLength": 3}, "..."),
        ({"type": "integer", "minimum": 2}, 2),
        ({"type": "boolean"}, False),
        ({"type": "null"}, None),
        ({"enum": ["a", "b"]}, "a"),
        ({"const": 7}, 7),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [False, False]),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 0),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}}, 0),
        ({"properties": {"a": {"type": ["boolean", "null"]}}}, {"a": False}),
        ({}, None),
    ],
)
def test_a_value_is_as_small_as_its_schema_allows(schema: dict[str, object], value: object) -> None:
    assert structured.fill_schema(schema, "") == value


def test_a_schema_that_refers_to_itself_comes_to_an_end() -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}}}
    assert structured.fill_schema({**tree, "$defs": {"tree": tree}}, "")


@pytest.mark.parametrize("axis", VOICES)
def test_a_score_follows_what_is_said(axis: str) -> None:
    high, low = VOICES[axis].high[0].format(topic="bread"), VOICES[axis].low[0].format(topic="bread")
    asked = {"type": "object", "properties": {axis: NUMBER}}
    assert structured.fill_schema(asked, high) == {axis: 1.0}
    assert structured.fill_schema(asked, low) == {axis: 0.0}
    assert structured.fill_schema(asked, "Bread.") == {axis: 0.5}
    both = structured.score_axis(axis, f"{high} {low}")
    assert both is not None
    assert 0 < both < 1


def test_what_is_not_observable_is_null_where_that_is_allowed() -> None:
    nullable = {"type": "object", "properties": {"warmth": {"type": ["number", "null"]}}}
    assert structured.fill_schema(nullable, "Bread.") == {"warmth": None}


def test_a_score_fits_the_range_that_is_asked_for() -> None:
    percent = {
        "type": "object",
        "properties": {"warmth": {"type": "integer", "minimum": 0, "maximum": 100}},
    }
    assert structured.fill_schema(percent, VOICES["warmth"].high[0]) == {"warmth": 100}
