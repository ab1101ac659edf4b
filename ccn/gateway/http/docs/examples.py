"""Makes an example for every body in the OpenAPI document, from the models themselves.

So no example is missing or out of date. A field has an example of its own, or shares that of all fields
with its name, or gets the plainest value of its type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BY_NAME: Mapping[str, object] = {
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
    "protocol": 1,
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
_BY_FORMAT: Mapping[str, object] = {
    "uuid": "0197b2a4-7d1c-7c1e-9a55-2f6f0f3d8c11",
    "date-time": "2026-11-28T10:44:36.413859Z",
}
_BY_TYPE: Mapping[str, object] = {
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
                body.setdefault("example", make_example(body["schema"], models, is_request=True))
        for number, answer in operation["responses"].items():
            body = answer.get("content", {}).get("application/json")
            if body and number in {"200", "201"} and (example := make_example(body["schema"], models)):
                body.setdefault("example", example)
    return document


def make_example(
    schema: JsonSchema, models: Mapping[str, JsonSchema], name: str = "", *, is_request: bool = False
) -> object:
    """Make a value that the schema allows. A request gets only required fields and those with examples."""
    if "$ref" in schema:
        return make_example(models[schema["$ref"].rpartition("/")[2]], models, name, is_request=is_request)
    if (example := _find_example(schema, name)) is not _NOTHING:
        return example
    if "properties" in schema:
        return _fill_object(schema, models, is_request=is_request)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return make_example(choices[0], models, name, is_request=is_request)
    if "items" in schema:
        return [make_example(schema["items"], models, name, is_request=is_request)]
    return _BY_TYPE.get(schema.get("type", "object"), {})


def _find_example(schema: JsonSchema, name: str) -> object:
    """Find the example of the schema itself, or one of the field's name that the schema allows."""
    if "const" in schema:
        return schema["const"]
    if schema.get("examples"):
        return schema["examples"][0]
    by_name = _BY_NAME.get(name, _NOTHING)
    if choices := schema.get("enum"):
        return by_name if by_name in choices else choices[0]
    if by_name is not _NOTHING and _allows_value(schema, by_name):
        return by_name
    return _BY_FORMAT.get(schema.get("format", ""), _NOTHING)


def _allows_value(schema: JsonSchema, value: object) -> bool:
    allowed = [choice.get("type") for choice in schema.get("anyOf", [schema])]
    return any(name in allowed for name, types in _TYPES.items() if type(value) in types)


def _fill_object(
    schema: JsonSchema, models: Mapping[str, JsonSchema], *, is_request: bool
) -> dict[str, object]:
    required = schema.get("required", ())
    return {
        name: make_example(field, models, name, is_request=is_request)
        for name, field in schema["properties"].items()
        if not is_request or name in required or field.get("examples")
    }
