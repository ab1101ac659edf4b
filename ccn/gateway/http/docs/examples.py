"""An example for every body in the OpenAPI document, made from the models themselves.

So none is missing and none is out of date: a field says its own example, or is called like others that mean
the same, or gets the plainest value of its type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMED: Mapping[str, object] = {
    "access_token": "eyJhbGciOiJFZERTQSIs…",
    "active_instances": 3,
    "address": "http://127.0.0.1:7700",
    "at": "2026-11-28T10:44:36.413859Z",
    "attempt": 1,
    "by": "ada",
    "ccc": 0.93,
    "character": "wren",
    "code": "not_found",
    "committed": True,
    "content": "A lighthouse begins with the rock it stands on.",
    "conversations": 12,
    "created_at": "2026-11-28T10:44:36.413859Z",
    "cursor": "n0197b2a47d1c7c1e9a552f6f0f3d8c11",
    "database_mode": "plain",
    "detail": "there is no such conversation",
    "display_name": "Wren",
    "dollars": 0.0078,
    "draining": False,
    "drift": 0.021,
    "emergence": 0.52,
    "evidence": [],
    "expires_in": 900,
    "faults": [],
    "first_id": "wren",
    "has_more": False,
    "height": 128,
    "id": "0197b2a4-6a02-7b11-8f3e-5d2c9a7e4b10",
    "last_id": "wren",
    "leader": "node-1",
    "max_drift": 0.048,
    "max_tokens": 1_000,
    "message": "there is no such conversation",
    "messages_last_hour": 24,
    "microdollars": 7_800,
    "model": "claude-sonnet-5-5",
    "name": "Wren",
    "next": None,
    "node": "node-1",
    "notice": "You talk to an AI. No person writes the replies.",
    "opening": "Tell me about lighthouses.",
    "outcome": {"committed": True, "height": 128},
    "phi": 0.41,
    "pid": 4_242,
    "problem": "",
    "quarantined_instances": 0,
    "quorum": 2,
    "reason": "",
    "refresh_token": "ccnr_Jp3…",
    "reply_seq": 2,
    "request_id": "0197b2a4-9c77-7d20-b3aa-1e4f6a8c2d35",
    "rubric": "Asks because it wants to know.",
    "stand_in": False,
    "status": "running",
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "stopped": "",
    "term": 3,
    "text": "A lighthouse begins with the rock it stands on.",
    "title": "Lighthouses",
    "trust": 0.97,
    "type": "urn:ccn:problem:not_found",
    "unfinished": [],
    "unsealed": 0,
    "version": "0.1.0",
    "votes": ["node-1", "node-2", "node-3"],
}
_FORMATS: Mapping[str, object] = {
    "uuid": "0197b2a4-7d1c-7c1e-9a55-2f6f0f3d8c11",
    "date-time": "2026-11-28T10:44:36.413859Z",
}
_PLAIN: Mapping[str, object] = {
    "boolean": True,
    "integer": 1,
    "number": 0.5,
    "null": None,
    "object": {},
    "string": "",
}

_TYPES: Mapping[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}
_NOTHING = object()

JsonSchema = Mapping[str, Any]


def add_examples(document: dict[str, Any]) -> dict[str, Any]:
    """Put an example beside every body that has a model."""
    models = document["components"]["schemas"]
    for operation in (each for methods in document["paths"].values() for each in methods.values()):
        for kind, body in operation.get("requestBody", {}).get("content", {}).items():
            if kind == "application/json" or "form" in kind:
                body.setdefault("example", make_example(body["schema"], models, asked=True))
        for number, answer in operation["responses"].items():
            body = answer.get("content", {}).get("application/json")
            if body and number in {"200", "201"} and (example := make_example(body["schema"], models)):
                body.setdefault("example", example)
    return document


def make_example(
    schema: JsonSchema, models: Mapping[str, JsonSchema], name: str = "", *, asked: bool = False
) -> object:
    """A value that the schema allows. What is asked has only what is needed or has an example."""
    if "$ref" in schema:
        return make_example(models[schema["$ref"].rpartition("/")[2]], models, name, asked=asked)
    if (told := _find_example(schema, name)) is not _NOTHING:
        return told
    if "properties" in schema:
        return _fill_object(schema, models, asked=asked)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return make_example(choices[0], models, name, asked=asked)
    if "items" in schema:
        return [make_example(schema["items"], models, name, asked=asked)]
    return _PLAIN.get(schema.get("type", "object"), {})


def _find_example(schema: JsonSchema, name: str) -> object:
    """What the schema says itself, or what fields of this name say and it allows."""
    if "const" in schema:
        return schema["const"]
    if schema.get("examples"):
        return schema["examples"][0]
    named = _NAMED.get(name, _NOTHING)
    if choices := schema.get("enum"):
        return named if named in choices else choices[0]
    if named is not _NOTHING and _allows_value(schema, named):
        return named
    return _FORMATS.get(schema.get("format", ""), _NOTHING)


def _allows_value(schema: JsonSchema, value: object) -> bool:
    kinds = [each.get("type") for each in schema.get("anyOf", [schema])]
    return any(kind in kinds for kind, types in _TYPES.items() if type(value) in types)


def _fill_object(schema: JsonSchema, models: Mapping[str, JsonSchema], *, asked: bool) -> dict[str, object]:
    needed = schema.get("required", ())
    return {
        name: make_example(each, models, name, asked=asked)
        for name, each in schema["properties"].items()
        if not asked or name in needed or each.get("examples")
    }
