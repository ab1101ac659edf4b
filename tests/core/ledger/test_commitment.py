"""Canonical bytes against a handwritten RFC 8785, leaves that name their node, and content kept out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core import message
from ccn.core.ids import InstanceId, NodeId, UserId
from ccn.core.ledger import commitment
from ccn.core.ledger.commitment import LeafKind
from ccn.core.message import Role, Speaker
from tests.support.speakers import ANN

Value = str | int | list["Value"] | None

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
integers = st.integers(-commitment.INTEGER_LIMIT, commitment.INTEGER_LIMIT)
values: st.SearchStrategy[Value] = st.recursive(
    texts | integers | st.none(), lambda inner: st.lists(inner, max_size=4), max_leaves=8
)
keys = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
fields = st.dictionaries(keys, values, max_size=6)
documents = st.recursive(
    texts | integers | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)

SALT = bytes(32)
SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def jcs(value: object) -> str:
    """RFC 8785, section 3.2, for the values that are allowed here."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return '"' + "".join(map(escaped, value)) + '"'
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ",".join(map(jcs, value)) + "]"
    assert isinstance(value, dict)
    ordered = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be"))
    return "{" + ",".join(f"{jcs(key)}:{jcs(inner)}" for key, inner in ordered) + "}"


def escaped(character: str) -> str:
    if character in SHORT:
        return SHORT[character]
    return f"\\u{ord(character):04x}" if character < " " else character


@given(written=fields)
def test_canonical_bytes_are_those_of_rfc_8785(written: dict[str, Value]) -> None:
    assert commitment.encode_canonical(written).decode() == jcs(written)  # type: ignore[arg-type]  # deeper


@given(written=fields)
def test_canonical_bytes_are_read_as_they_were_written(written: dict[str, Value]) -> None:
    assert commitment.parse_canonical(commitment.encode_canonical(written)) == written  # type: ignore[arg-type]  # deeper


@given(written=fields, data=st.data())
def test_the_order_of_the_fields_changes_nothing(written: dict[str, Value], data: st.DataObject) -> None:
    shuffled = dict(data.draw(st.permutations(list(written.items()))))
    assert commitment.encode_canonical(shuffled) == commitment.encode_canonical(written)  # type: ignore[arg-type]  # deeper


def test_every_control_character_has_one_spelling() -> None:
    text = "".join(map(chr, range(0x20))) + '\x7f\u2028\ue000\U0001f600é"\\/'
    assert commitment.encode_canonical({"t": text}).decode() == jcs({"t": text})


@pytest.mark.parametrize(
    "value",
    [
        0.5,
        1.0,
        float("nan"),
        True,
        b"bytes",
        {"nested": 1},
        {1},
        2**53,
        -(2**53),
        [1.5],
        [[True]],
        ["\ud800"],
        "\udfff",
    ],
)
def test_what_two_readers_could_read_in_two_ways_has_no_canonical_form(value: object) -> None:
    with pytest.raises(errors.InputInvalid):
        commitment.encode_canonical({"field": value})  # type: ignore[dict-item]


@pytest.mark.parametrize("key", ["é", "\ud800", "\U0001f600"])
def test_keys_are_plain_ascii(key: str) -> None:
    with pytest.raises(errors.InputInvalid):
        commitment.encode_canonical({key: 1})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"text"',
        b"{",
        b'{"a":1} ',
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":true}',
        b'{"a":{}}',
        b'{"a":-0}',
        b'{"a":01}',
        b'{"a":NaN}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\/"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":9007199254740992}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        '{"a":1}'.encode("utf-16"),
    ],
)
def test_bytes_that_are_not_canonical_are_refused(body: bytes) -> None:
    with pytest.raises(errors.InputInvalid):
        commitment.parse_canonical(body)


@given(body=st.binary(max_size=60) | st.text(alphabet='{}[]",:0123\\u ab', max_size=40).map(str.encode))
def test_any_bytes_are_canonical_or_refused(body: bytes) -> None:
    try:
        read = commitment.parse_canonical(body)
    except errors.InputInvalid:
        return
    assert jcs(read).encode() == body


def test_a_leaf_commits_to_its_row_and_to_who_numbered_it() -> None:
    leaf = commitment.make_leaf(NodeId("node-1"), 7, LeafKind.MESSAGE, {"seq": 3, "role": "user"})
    assert leaf.body == b'{"kind":"message","node":"node-1","number":7,"role":"user","seq":3,"v":2}'
    assert leaf.hash == hashlib.sha256(b"\x00" + leaf.body).digest()
    others: list[Callable[[], commitment.Leaf]] = [
        lambda: commitment.make_leaf(NodeId("node-2"), 7, LeafKind.MESSAGE, {"seq": 3, "role": "user"}),
        lambda: commitment.make_leaf(NodeId("node-1"), 8, LeafKind.MESSAGE, {"seq": 3, "role": "user"}),
        lambda: commitment.make_leaf(NodeId("node-1"), 7, LeafKind.TURN, {"seq": 3, "role": "user"}),
        lambda: commitment.make_leaf(NodeId("node-1"), 7, LeafKind.MESSAGE, {"seq": 4, "role": "user"}),
    ]
    assert leaf.hash not in {other().hash for other in others}


def test_a_row_cannot_claim_another_number_or_node_than_its_leaf() -> None:
    leaf = commitment.make_leaf(
        NodeId("node-1"), 7, LeafKind.MESSAGE, {"node": "node-2", "number": 9, "kind": "turn", "v": 3}
    )
    assert json.loads(leaf.body) == {"kind": "message", "node": "node-1", "number": 7, "v": 2}


def test_content_is_committed_to_with_tag_salt_and_length() -> None:
    expected = hashlib.sha256(b"ccn/content/v1\x00" + SALT + (3).to_bytes(8, "big") + "aé".encode())
    assert commitment.commit_content(SALT, "aé") == expected.digest()


@given(one=texts, other=texts, salts=st.tuples(*[st.binary(min_size=32, max_size=32)] * 2))
def test_two_contents_never_have_the_same_commitment(
    one: str, other: str, salts: tuple[bytes, bytes]
) -> None:
    same = commitment.commit_content(salts[0], one) == commitment.commit_content(salts[1], other)
    assert same == ((salts[0], one) == (salts[1], other))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_salt_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(errors.InputInvalid, match="salt"):
        commitment.commit_content(bytes(length), "text")


def test_content_with_half_a_surrogate_pair_is_refused_as_input() -> None:
    with pytest.raises(errors.InputInvalid, match="surrogate"):
        commitment.commit_content(SALT, "\ud800")


@pytest.mark.parametrize("text", ["0", "0g", "é", "0x00"])
def test_a_hash_that_is_not_hexadecimal_is_refused(text: str) -> None:
    with pytest.raises(errors.InputInvalid):
        commitment.digest_from_hex(text)


@given(documents)
def test_a_document_that_went_through_json_has_the_same_hash(value: object) -> None:
    assert commitment.hash_document(json.loads(json.dumps(value))) == commitment.hash_document(value)


@pytest.mark.parametrize("value", [0.5, {"x": [1.0]}, {1: "x"}, b"x", 2**53, {"x": object()}])
def test_a_document_with_two_spellings_has_no_hash(value: object) -> None:
    with pytest.raises(errors.InputInvalid):
        commitment.hash_document(value)


@given(
    st.integers(0, commitment.INTEGER_LIMIT),
    st.tuples(*[st.integers(0, commitment.INTEGER_LIMIT)] * 3),
    st.uuids(),
    st.sampled_from(Role),
    st.none() | st.uuids(),
    st.uuids().map(UserId).map(message.account_speaker)
    | st.uuids().map(InstanceId).map(message.instance_speaker),
)
def test_the_leaf_of_a_message_is_spelled_as_any_other(
    at: int,
    numbers: tuple[int, int, int],
    conversation: UUID,
    role: Role,
    turn: UUID | None,
    speaker: Speaker,
) -> None:
    number, epoch, seq = numbers
    committed = hashlib.sha256(conversation.bytes).digest()
    spoken = commitment.make_message_leaf(
        NodeId("node-1"), number, at, committed, conversation, epoch, role, seq, speaker, turn
    )
    assert spoken == commitment.make_leaf(
        NodeId("node-1"),
        number,
        LeafKind.MESSAGE,
        {
            "at": at,
            "content": committed.hex(),
            "conversation": str(conversation),
            "epoch": epoch,
            "role": role.value,
            "seq": seq,
            "speaker": speaker,
            "turn": None if turn is None else str(turn),
        },
    )


@pytest.mark.parametrize("at", [-1, commitment.INTEGER_LIMIT + 1])
def test_the_leaf_of_a_message_has_no_number_that_could_be_read_in_two_ways(at: int) -> None:
    with pytest.raises(errors.InputInvalid):
        commitment.make_message_leaf(
            NodeId("node-1"),
            1,
            at,
            bytes(32),
            UUID(int=1),
            0,
            Role.USER,
            1,
            message.account_speaker(ANN),
            None,
        )
