"""What the record commits to: the canonical bytes of a row, its leaf hash, and salted hashes of content.

The node that produces a row hashes it before the database sees it, as canonical JSON of strings and
integers. Databases rewrite floats, timestamps and jsonb, so nothing that they return is hashed. A leaf
contains a salted hash of a text and not the text, so that the text can be redacted and the record still
verifies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from ccn import errors
from ccn.core.ids import NodeId
from ccn.core.message import Role, Speaker

SALT_BYTES = 32
_CONTENT_TAG = b"ccn/content/v1\x00"
_LEAF_TAG = b"\x00"  # RFC 6962, section 2.1: leaves and inner nodes are hashed under different prefixes

INTEGER_LIMIT = 2**53 - 1
"""RFC 8785 writes numbers as doubles: beyond this, two readers could see two values."""

Fields = Mapping[
    str, "str | int | Sequence[int | None] | Sequence[str] | Sequence[Sequence[str | int]] | None"
]


class LeafKind(StrEnum):
    """What a leaf is about."""

    CONVERSATION = "conversation"
    MESSAGE = "message"
    TURN = "turn"
    INSTANCE = "instance"
    VECTOR = "vector"
    PLATE = "plate"
    SNAPSHOT = "snapshot"
    OPERATOR = "operator"
    VALIDATORS = "validators"
    REDACTION = "redaction"


class Leaf(NamedTuple):
    """One version of a protected row, as the producing node numbered and hashed it."""

    node: NodeId
    number: int
    kind: LeafKind
    body: bytes
    hash: bytes


_VERSIONS = {LeafKind.MESSAGE: 2}
"""The version of a kind's fields: messages name their speaker since their second. All others have one."""


def make_leaf(node: NodeId, number: int, kind: LeafKind, fields: Fields) -> Leaf:
    """Number and hash one row; the body says who numbered it, so an omission or a swap shows."""
    version = _VERSIONS.get(kind, 1)
    body = encode_canonical({**fields, "kind": kind.value, "node": node, "number": number, "v": version})
    return Leaf(node, number, kind, body, leaf_hash(body))


def make_message_leaf(  # noqa: PLR0917 - the fields of a message, each once
    node: NodeId,
    number: int,
    at: int,
    committed: bytes,
    conversation: UUID | str,
    epoch: int,
    role: Role,
    seq: int,
    speaker: Speaker,
    turn: UUID | None,
) -> Leaf:
    """The leaf of a message: what `leaf` makes, byte for byte, in a third of the time. Most are these.

    Nothing in it needs an escape: ids, a node's name and a role are letters, digits and dashes; a speaker
    has a colon besides.
    """
    if not (0 <= at <= INTEGER_LIMIT and max(number, epoch, seq) <= INTEGER_LIMIT):
        raise errors.InputInvalid("a number in the leaf of a message has no canonical form")
    within = "null" if turn is None else f'"{turn}"'
    body = (
        f'{{"at":{at},"content":"{committed.hex()}","conversation":"{conversation}","epoch":{epoch},'
        f'"kind":"message","node":"{node}","number":{number},"role":"{role}","seq":{seq},'
        f'"speaker":"{speaker}","turn":{within},"v":2}}'
    ).encode()
    return Leaf(node, number, LeafKind.MESSAGE, body, leaf_hash(body))


def leaf_hash(body: bytes) -> bytes:
    """The Merkle leaf hash of RFC 6962."""
    return hashlib.sha256(_LEAF_TAG + body).digest()


def commit_content(salt: bytes, text: str) -> bytes:
    """The commitment to a text: nobody without the salt can guess it, nobody with it can swap it."""
    if len(salt) != SALT_BYTES:
        raise errors.InputInvalid(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
    data = _encode_utf8(text)
    return hashlib.sha256(b"".join((_CONTENT_TAG, salt, len(data).to_bytes(8, "big"), data))).digest()


_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode


def encode_canonical(fields: Fields) -> bytes:
    """One spelling for one meaning: sorted ASCII keys, no blanks, UTF-8, integers and strings only.

    On these values it is the JSON Canonicalization Scheme, RFC 8785.
    """
    for key, value in fields.items():
        if not key.isascii() or not _is_canonical_value(value):
            raise errors.InputInvalid(f"{key} has no canonical form: {type(value).__name__}")
    return _encode_utf8(_encode(dict(fields)))


def encode_numbers(values: Sequence[int]) -> str:
    """Write integers as a list in canonical bytes, all at once: there may be thousands."""
    return repr(list(values)).replace(" ", "")


def parse_canonical(body: bytes) -> dict[str, object]:
    """The fields of canonical bytes; whatever `canonical` would not have written is refused."""
    try:
        fields = json.loads(body)
        if isinstance(fields, dict) and encode_canonical(fields) == body:
            return fields
    except (ValueError, RecursionError) as refused:
        raise errors.InputInvalid(f"these bytes are not JSON: {refused}") from None
    raise errors.InputInvalid("these bytes are not canonical JSON")


def hash_document(value: object) -> bytes:
    """The hash of a JSON document, nested as it may be: sorted keys, no blanks, no floats."""
    if not _is_document_value(value):
        raise errors.InputInvalid("a document holds texts, whole numbers, truth values and nothing else")
    return hashlib.sha256(_encode_utf8(_encode(value))).digest()


def digest_from_hex(text: str) -> bytes:
    """A hash from the hexadecimal form it has in canonical bytes."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise errors.InputInvalid(f"{text[:80]!r} is not a hash in hexadecimal") from None


def _is_canonical_value(value: object) -> bool:
    kind = type(value)  # exact types: True is an int, and an enum would be spelled by its value
    if kind is str or value is None:
        return True
    if kind is int:
        return -INTEGER_LIMIT <= value <= INTEGER_LIMIT  # type: ignore[operator]  # it is an int
    if not isinstance(value, (list, tuple)):
        return False
    if set(map(type, value)) == {int}:  # ten thousand drifts are looked at all at once
        return bool(min(value) >= -INTEGER_LIMIT and max(value) <= INTEGER_LIMIT)
    return all(map(_is_canonical_value, value))


def _is_document_value(value: object) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and _is_document_value(each) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_document_value, value))
    return type(value) is bool or _is_canonical_value(value)


def _encode_utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise errors.InputInvalid("a text contains half of a surrogate pair") from None
