"""Appending and reading back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ccn import errors
from ccn.core.message import Role
from ccn.store.conversations import conversations
from ccn.store.conversations.conversations import AppendMessage
from tests.support.speakers import ANN

if TYPE_CHECKING:
    from tests.support.store.open_store import Store


async def test_messages_get_places_without_gaps_whoever_appends(store: Store) -> None:
    here = await store.conversation()
    said = await asyncio.gather(
        *[store.writer.submit(AppendMessage(here, Role.USER, f"word {n}", ANN)) for n in range(40)]
    )
    assert sorted(message.seq for message in said) == list(range(1, 41))
    page = await conversations.load_history(store.pool, here, limit=100)
    assert [message.seq for message in page.messages] == list(range(1, 41))
    assert {message.seq: message.content for message in said} == {m.seq: m.content for m in page.messages}


async def test_a_key_used_twice_says_it_once(store: Store) -> None:
    here = await store.conversation()
    twice = [AppendMessage(here, Role.USER, "once", ANN, idempotency_key="k") for _ in range(2)]
    first, second = await asyncio.gather(*[store.writer.submit(each) for each in twice])
    third = await store.writer.submit(twice[0])
    assert first == second == third
    assert len((await conversations.load_history(store.pool, here)).messages) == 1


async def test_a_key_used_for_other_words_is_refused(store: Store) -> None:
    here = await store.conversation()
    await store.writer.submit(AppendMessage(here, Role.USER, "once", ANN, idempotency_key="k"))
    with pytest.raises(errors.IdempotencyConflict):
        await store.writer.submit(AppendMessage(here, Role.USER, "twice", ANN, idempotency_key="k"))
