"""The values of deeds in JSON, for both ends of the way from a gateway to a voter.

Whatever travels is a dataclass of plain parts, so one reader rebuilds all of them from their types. It
passes over fields that it does not know: whoever wrote them may be of a later version. An error travels as
a value too: the client of a gateway meets what the client of a voter would.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, NewType, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import orjson

from ccn import errors

T = TypeVar("T")

_Reader = Callable[[Any], Any]


def encode_json(value: object) -> bytes:
    """Write plain values; ids may be of the kind that the database's driver makes."""
    return orjson.dumps(value, default=_id_to_json)


def encode_value(value: object) -> bytes:
    """Write a value as one frame."""
    return encode_json({"value": value})


def encode_error(refused: errors.CCNError) -> bytes:
    """Write an error as the last frame."""
    told = {"name": type(refused).__name__, "said": str(refused)}
    if (after_s := getattr(refused, "retry_after_s", None)) is not None:
        told["after_s"] = after_s
    return orjson.dumps({"error": told})


def decode_frame(frame: bytes) -> Any:
    """Read the value of a frame, or raise the error in it."""
    try:
        told = orjson.loads(frame)
    except orjson.JSONDecodeError:
        raise errors.PeerRefused("a voter answered what cannot be read") from None
    match told:
        case {"value": value}:
            return value
        case {"error": {"name": str(name), "said": str(said), **more}}:
            raise _make_error(name, said, more.get("after_s"))
    raise errors.PeerRefused("a voter answered what cannot be read")


def decode_body(data: bytes) -> Mapping[str, Any]:
    """Read what is asked."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise errors.InputInvalid("the body of a question is JSON") from None
    if not isinstance(body, dict):
        raise errors.InputInvalid("the body of a question is an object")
    return body


def read_value(kind: Callable[..., T], data: object) -> T:
    """Rebuild a value of this type, or InputInvalid."""
    try:
        value: T = _find_reader(kind)(data)
    except (TypeError, ValueError, KeyError, AttributeError) as strange:
        raise errors.InputInvalid(f"this is no {getattr(kind, '__name__', kind)}: {strange}") from None
    return value


def _id_to_json(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no plain value")


def _make_error(name: str, said: str, after_s: object) -> errors.CCNError:
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, errors.CCNError)):
        return errors.CCNError(said)  # of a later version
    if issubclass(kind, errors.TooManyRequests | errors.BudgetSpent) and isinstance(after_s, int | float):
        return kind(said, after_s)
    return kind(said)


@cache
def _find_reader(kind: Any) -> _Reader:  # noqa: PLR0911 - one return for each kind of type
    if isinstance(kind, NewType):
        return _find_reader(kind.__supertype__)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        readers = [_find_reader(each) for each in arguments if each is not type(None)]
        (inner,) = readers  # only what may be None as well
        return lambda data: None if data is None else inner(data)
    if origin is tuple:
        inner = _find_reader(arguments[0])
        return lambda data: tuple(map(inner, data))
    if dataclasses.is_dataclass(kind):
        return _make_record_reader(kind)
    if kind is datetime:
        return datetime.fromisoformat
    if isinstance(kind, type) and issubclass(kind, UUID | Enum):
        return kind
    if kind in {str, int, bool}:
        return lambda data: _check_kind(data, kind)
    return lambda data: data  # JSON as it is


def _make_record_reader(kind: Any) -> _Reader:
    hints = get_type_hints(kind)
    readers = {each.name: _find_reader(hints[each.name]) for each in dataclasses.fields(kind) if each.init}
    return lambda data: kind(**{name: readers[name](data[name]) for name in data if name in readers})


def _check_kind(data: object, kind: type) -> object:
    if not isinstance(data, kind):
        raise TypeError(f"{data!r:.40} is no {kind.__name__}")
    return data
