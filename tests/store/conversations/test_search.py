"""Finding what was said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ccn.core.message import Role
from ccn.store.conversations import search
from ccn.store.conversations.conversations import AppendMessage
from tests.support.speakers import ANN

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

SAID = [
    "The lighthouse keeper was running along the pier.",
    "Die Äpfel liegen – wie immer – in den Häusern der Stadt.",
    "Les chevaux galopaient dans les prairies et je ne les ai pas vus.",
    "Мы говорили о книгах и о море.",
    "東京の天気は今日とても良いです。",
    "Nothing about the sea here; the keeper only slept.",
]


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize(
    ("query", "hits", "match"),
    [
        ("run", {1}, "running"),
        ("äpfel haus", {2}, "Äpfel"),
        ("cheval", {3}, "chevaux"),
        ("книга", {4}, "книгах"),
        ("天気", {5}, "天気"),
        ('"lighthouse keeper"', {1}, "lighthouse"),
        ("keeper -lighthouse", {6}, "keeper"),
        ("pier or slept", {1, 6}, None),
        ("zebra", set(), None),
        ("", set(), None),
    ],
)
async def test_words_are_found_in_their_language(
    shared: Store, query: str, hits: set[int], match: str | None, indexed: bool
) -> None:
    here = await shared.conversation()
    for content in SAID:
        await shared.writer.submit(AppendMessage(here, Role.USER, content, ANN))
    if indexed:
        assert await search.index_messages(shared.pool) >= len(SAID)
        assert await search.index_messages(shared.pool) == 0
        languages = None
    else:
        languages = ["english", "german", "french", "russian", "simple"]
    found = await search.find_messages(shared.pool, query, conversation=here, languages=languages)
    assert {hit.seq for hit in found} == hits
    if match:
        assert match in "".join(found[0].excerpt[1::2])
