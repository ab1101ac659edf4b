"""Values between a gateway and a voter: they come back as they were, and errors as themselves."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from uuid import uuid4

import orjson
import pytest

from ccn import errors
from ccn.core.calls.call import Call, CallBlock, CallMessage, Reply, TokenUsage
from ccn.core.ids import CharacterId, ConversationId, InstanceId, NodeId, TurnId, UserId
from ccn.core.message import Message, Role
from ccn.core.turn import TurnStatus
from ccn.gateway.accounts.accounts import Grant
from ccn.gateway.deeds import values
from ccn.node.conversations import StartedConversation
from ccn.node.rounds.voter_news import VoterNews
from ccn.node.views.cluster_status import ClusterStatus, GatewaySeat, LastRound, NodeSeat
from ccn.store.conversations.conversations import StoredConversation
from ccn.store.conversations.instances import Instance, InstanceStatus
from ccn.store.conversations.turns import Turn

NOW = datetime.now(UTC)
HERE, ADA, ONE = ConversationId(uuid4()), CharacterId("ada"), NodeId("node-1")
STORED = StoredConversation(HERE, ADA, UserId(uuid4()), 'A "title"', open=True, created_at=NOW)
INSTANCE = Instance(
    InstanceId(uuid4()), HERE, ADA, ONE, 3, InstanceStatus.RUNNING, "m", 1, NOW, NOW, 0.25, {"passed": [5]}
)
SENT = (
    Turn(TurnId(uuid4()), HERE, TurnStatus.ACCEPTED, 1, None, 0, 2, 0, NOW),
    STORED,
    StartedConversation(STORED, INSTANCE),
    Message(HERE, 7, Role.ASSISTANT, None, NOW, TurnId(uuid4())),
    Call("m", (CallBlock("<plate>", mark=True),), (CallMessage(Role.USER, "Hé\n"),), 9, 0.5),
    Reply("words", "end_turn", TokenUsage(1, 2, 3, 4), "m"),
    Grant("access", 900, "refresh"),
    VoterNews(ONE, "aa", "bb", 3, "cc", ("http://127.0.0.1:1",)),
    ClusterStatus(
        ONE,
        (NodeSeat(ONE, None, here=True, draining=False, address="", since=NOW),),
        None,
        4,
        None,
        LastRound(None, committed=False, reason="why", at=NOW),
        2,
        0,
        "plain",
        "",
        gateways=(GatewaySeat(NodeId("gateway-1"), "http://127.0.0.1:2"),),
    ),
)


@pytest.mark.parametrize("value", SENT, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_as_it_was(value: object) -> None:
    assert values.read_value(type(value), values.decode_frame(values.encode_value(value))) == value


@pytest.mark.parametrize(
    "refused",
    [
        errors.NotFound("there is no such conversation"),
        errors.ReasonRequired("say why"),
        errors.TooManyStreams("wait", 7.5),
        errors.AllowanceSpent("tomorrow", 3_600.0),
        errors.BudgetSpent("tomorrow"),
        errors.SignInRefused("name and password do not fit"),
    ],
    ids=lambda refused: type(refused).__name__,
)
def test_an_error_is_raised_as_what_it_was(refused: errors.CCNError) -> None:
    with pytest.raises(errors.CCNError) as raised:
        values.decode_frame(values.encode_error(refused))
    assert type(raised.value) is type(refused)
    assert str(raised.value) == str(refused)
    assert getattr(raised.value, "retry_after_s", None) == getattr(refused, "retry_after_s", None)


def test_an_error_that_this_version_does_not_know_is_an_error_all_the_same() -> None:
    for name in ("OfTheNextVersion", "annotations", "CCNError"):
        with pytest.raises(errors.CCNError, match="told"):
            values.decode_frame(orjson.dumps({"error": {"name": name, "said": "told"}}))


@pytest.mark.parametrize("frame", [b"", b"[]", b"{}", b'{"error": {}}', b'{"error": "x"}', b"\xff"])
def test_what_is_no_frame_is_the_voter_s_fault(frame: bytes) -> None:
    with pytest.raises(errors.PeerRefused):
        values.decode_frame(frame)


@pytest.mark.parametrize("value", SENT, ids=lambda value: type(value).__name__)
def test_a_reader_passes_over_fields_of_a_later_version_at_any_depth(value: object) -> None:
    told = _add_field_everywhere(orjson.loads(values.encode_json(value)))
    assert values.read_value(type(value), told) == value


def _add_field_everywhere(told: object) -> object:
    match told:
        case {"passed": _}:
            return told  # what a record keeps as JSON has no fields of ours
        case dict():
            return {name: _add_field_everywhere(part) for name, part in told.items()} | {"later": [{}]}
        case list():
            return list(map(_add_field_everywhere, told))
        case _:
            return told


def test_a_writer_writes_the_fields_of_its_version_and_no_others() -> None:
    for value in SENT:
        assert dataclasses.is_dataclass(value)
        names = {each.name for each in dataclasses.fields(value)}
        assert orjson.loads(values.encode_json(value)).keys() == names


@pytest.mark.parametrize(
    "data",
    [None, [], {}, {"id": 1}, "x", {**orjson.loads(orjson.dumps(STORED)), "open": "yes", "more": 1}],
)
def test_what_is_no_such_value_is_refused(data: object) -> None:
    with pytest.raises(errors.InputInvalid, match="this is no StoredConversation"):
        values.read_value(StoredConversation, data)


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{"])
def test_a_question_has_an_object_for_a_body(body: bytes) -> None:
    with pytest.raises(errors.InputInvalid, match="the body of a question"):
        values.decode_body(body)
