"""What a program reads of an answer, also where the answer lacks something."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]  # ships no types

from ccn.continuity import values
from ccn.core.calls.call import TokenUsage
from ccn.core.ids import ConversationId, TurnId
from ccn.core.message import Message, Role
from ccn.pb import instances_pb2 as pb

CONVERSATION = ConversationId(UUID(int=1))
TURN = TurnId(UUID(int=2))
AT = datetime(2026, 6, 1, 12, tzinfo=UTC)


def stamp(moment: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(moment)
    return made


def test_a_message_keeps_its_place_its_turn_and_its_time() -> None:
    answer = pb.Message(seq=3, role="assistant", content="Hello!", at=stamp(AT), turn=str(TURN))
    expected = Message(CONVERSATION, 3, Role.ASSISTANT, "Hello!", AT, TURN)
    assert values.message_from_pb(CONVERSATION, answer) == expected


def test_a_redacted_message_has_no_content_and_an_empty_one_has_some() -> None:
    redacted = pb.Message(seq=1, role="user", at=stamp(AT))
    assert values.message_from_pb(CONVERSATION, redacted).content is None
    assert values.message_from_pb(CONVERSATION, redacted).turn is None
    empty = pb.Message(seq=1, role="user", content="", at=stamp(AT))
    assert values.message_from_pb(CONVERSATION, empty).content == ""


def test_what_could_not_be_estimated_is_none_and_zero_is_a_figure() -> None:
    unknown = values.health_from_pb(pb.HealthAnswer(open=True))
    assert (unknown.drift, unknown.ccc, unknown.status, unknown.measured_at) == (None, None, None, None)
    known = values.health_from_pb(
        pb.HealthAnswer(
            drift=0.0,
            instance=pb.Instance(status="running"),
            character=[pb.Score(axis="honesty", score=0.75)],
            measured_at=stamp(AT),
        )
    )
    assert (known.drift, known.status, known.measured_at) == (0.0, "running", AT)
    assert known.state == {"honesty": 0.75}


def test_a_prompt_is_what_the_messages_api_takes() -> None:
    prompt = values.prompt_from_pb(
        pb.PromptAnswer(
            model="m",
            max_tokens=100,
            system=[pb.Layer(text="Be Ada.", mark=True), pb.Layer(text="Speak.")],
            messages=[pb.Said(role="user", text="Hello!")],
        )
    )
    assert prompt.system == "Be Ada.\n\nSpeak."
    marked = {"type": "text", "text": "Be Ada.", "cache_control": {"type": "ephemeral"}}
    assert prompt.request() == {
        "model": "m",
        "max_tokens": 100,
        "system": [marked, {"type": "text", "text": "Speak."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello!"}]}],
    }


def test_the_tokens_of_a_reply_are_counted_by_kind() -> None:
    done = pb.Done(input_tokens=1, output_tokens=2, cache_read_tokens=3, cache_write_tokens=4)
    assert values.usage_from_pb(done) == TokenUsage(1, 2, 3, 4)
