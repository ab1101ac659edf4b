"""What is encoded at once says what its typed model says."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest
from asyncpg.pgproto import pgproto

from ccn.core.ids import ConversationId, TurnId
from ccn.core.message import Message, Role
from ccn.gateway.accounts import credentials
from ccn.gateway.http.conversations import presenters, schemas
from ccn.store.conversations.conversations import MessagePage

HERE = ConversationId(credentials.new_id())
AT = datetime(2026, 11, 20, 8, 30, 1, tzinfo=UTC)


def said(seq: int, content: str | None, at: datetime = AT, turn: TurnId | None = None) -> Message:
    return Message(HERE, seq, Role.USER if seq % 2 else Role.ASSISTANT, content, at, turn)


@pytest.mark.parametrize(
    "page",
    [
        MessagePage((), None),
        MessagePage((said(1, "Tell me."), said(2, None)), None),
        MessagePage(
            (said(7, '"quoted"\n\x7f \u2028 ключ 灯 \U0001f4a1', turn=TurnId(credentials.new_id())),), 7
        ),
        MessagePage((said(8, "x", AT.replace(microsecond=50), TurnId(pgproto.UUID(str(HERE)))),), 8),
    ],
)
def test_a_page_of_messages_is_what_its_model_would_print(page: MessagePage) -> None:
    model = schemas.MessagesAnswer(
        messages=tuple(
            schemas.MessageAnswer(seq=m.seq, role=m.role.value, content=m.content, at=m.at, turn_id=m.turn)
            for m in page.messages
        ),
        next=None if page.before is None else f"p{page.before}",
    )
    assert orjson.loads(presenters.page_to_json(page)) == orjson.loads(model.model_dump_json())
