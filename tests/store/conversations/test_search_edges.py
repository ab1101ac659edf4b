"""Whose words are found, in which order, marked how; and what hostile queries and texts do to a search."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import pytest

from ccn import errors
from ccn.core.message import Role
from ccn.store.conversations import search
from ccn.store.conversations.conversations import AppendMessage
from ccn.store.upkeep import retention
from ccn.store.writing.writer import Writer
from tests.support.speakers import ANN

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

    Another = Callable[..., AbstractAsyncContextManager[Writer]]


@pytest.mark.parametrize("indexed", [True, False])
async def test_the_message_that_says_more_of_it_comes_first(shared: Store, indexed: bool) -> None:
    here = await shared.conversation()
    await shared.say(
        here,
        "A boat was mentioned once among very many other things on that long evening at the coast.",
        "The boat, the red boat, our boat.",
        "Nothing of the kind.",
    )
    if indexed:
        await search.index_messages(shared.pool)
    found = await search.find_messages(shared.pool, "boat", conversation=here)
    assert [hit.seq for hit in found] == [2, 1]
    assert found[0].rank > found[1].rank


@pytest.mark.parametrize("indexed", [True, False])
async def test_nobody_finds_the_words_of_others(shared: Store, indexed: bool) -> None:
    one, two = await shared.user(), await shared.user()
    mine, also_mine = await shared.conversation(one), await shared.conversation(one)
    theirs, nobodys = await shared.conversation(two), await shared.conversation()
    for each in (mine, also_mine, theirs, nobodys):
        await shared.say(each, "a common gull")
    if indexed:
        await search.index_messages(shared.pool)
    found = await search.find_messages(shared.pool, "gulls", owner=one)
    assert {hit.conversation for hit in found} == {mine, also_mine}
    found = await search.find_messages(shared.pool, "gulls", owner=one, conversation=mine)
    assert {hit.conversation for hit in found} == {mine}
    assert await search.find_messages(shared.pool, "gulls", owner=one, conversation=theirs) == []
    assert len(await search.find_messages(shared.pool, "gulls")) >= 4
    assert len(await search.find_messages(shared.pool, "gulls", limit=2)) == 2


@pytest.mark.parametrize(
    ("said", "query", "marked"),
    [
        ("The keepers kept a keeper's book.", "keeper", ["keepers", "keeper"]),
        ("ฉันรักแมว", "แมว", ["แมว"]),
        ("東京の天気は良い", "天気", ["天気"]),
        ("나는 바다를 봐", "바다", ["바다"]),
        ("Ich gehe ins Café, ins café!", "café", ["Café", "café"]),
        ("Cafe\u0301 with a combining accent", "café", ["Café"]),
        ("Die Straße war naß", "straße", ["Straße"]),
        ("И снова море, моря, морем", "море", ["море", "моря", "морем"]),
        ("a \x02false\x03 mark beside a true one", "true", ["true"]),
    ],
)
async def test_an_excerpt_marks_the_words_that_matched(
    shared: Store, said: str, query: str, marked: list[str]
) -> None:
    here = await shared.conversation()
    await shared.say(here, said)
    for indexed in (False, True):
        if indexed:
            await search.index_messages(shared.pool)
        (hit,) = await search.find_messages(
            shared.pool, query, conversation=here, languages=["english", "german", "russian", "simple"]
        )
        # In scripts without blanks each character is a mark of its own.
        matches = "".join(hit.excerpt[1::2])
        assert matches == "".join(marked)
        assert len(hit.excerpt) % 2 == 1


async def test_words_in_another_order_are_not_the_phrase(shared: Store) -> None:
    here = await shared.conversation()
    await shared.say(here, "green old house", "old green house", "天気の良い日")
    await search.index_messages(shared.pool)
    for query, hits in {
        '"old green"': {2},
        "old green": {1, 2},
        "house -old": set(),
        '"green house" or "old house"': {1, 2},
        "気天": set(),
    }.items():
        found = await search.find_messages(shared.pool, query, conversation=here)
        assert {hit.seq for hit in found} == hits, query


HOSTILE = [
    "",
    " ",
    "-",
    '"',
    "''",
    "a' & | ! b",
    "!!! (((",
    "&|!<->:*",
    "or or or",
    "-word",
    "\\",
    "%_$1",
    "a:b* c:*D",
    "'; DROP TABLE messages; --",
    "\x01\x02\x03\x1f",
    "\u202e\u200b\ufeff",
    "😀🏴‍☠️",
    "x" * 1000,
    "or " * 333,
    "天" * 1000,
    '"' * 999,
    "(" * 1000,
]


@pytest.mark.parametrize("query", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_hostile_query_is_a_query_that_finds_nothing_much(shared: Store, query: str) -> None:
    here = await shared.conversation()
    await shared.say(here, "an innocent word")
    assert len(await search.find_messages(shared.pool, query, conversation=here)) <= 1


@pytest.mark.parametrize("query", ["a\x00b", "x" * 1001, "half a pair \ud800"])
async def test_a_query_that_is_no_text_is_refused(shared: Store, query: str) -> None:
    with pytest.raises(errors.InputInvalid):
        await search.find_messages(shared.pool, query)


async def test_a_search_has_limits(shared: Store) -> None:
    for limit in (0, -1, 101):
        with pytest.raises(errors.InputInvalid):
            await search.find_messages(shared.pool, "word", limit=limit)
    with pytest.raises(errors.InputInvalid, match="klingon"):
        await search.find_messages(shared.pool, "word", languages=["klingon"])
    with pytest.raises(errors.InputInvalid):
        await shared.writer.submit(
            AppendMessage(shared.new_id(), Role.USER, "nuqneH", ANN, language="klingon")
        )


def _many_words(alphabet: str, joined: str, length: int) -> str:
    size = len(alphabet)
    letters = [alphabet[n % size] + alphabet[n // size % size] for n in range(length)]
    return joined.join(f"{a}{b}" for a, b in zip(letters, reversed(letters), strict=True))[:990_000]


CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
ETHIOPIC = "".join(map(chr, range(0x1200, 0x1248)))
DESERET = "".join(map(chr, range(0x10400, 0x10450)))
LARGE: dict[str, Callable[[], str]] = {
    "one endless word": lambda: "x" * 1_000_000,
    "nothing but blanks and one word": lambda: " " * 900_000 + "needle",
    "hyphens between Cyrillic": lambda: _many_words(CYRILLIC, "-", 200_000),
    "hyphens between Ethiopic": lambda: _many_words(ETHIOPIC, "-", 200_000),
    "hyphens between Deseret": lambda: _many_words(DESERET, "-", 200_000),
    "a long address": lambda: "http://example.org/" + _many_words(CYRILLIC, "/", 200_000),
    "a million hieroglyphs": lambda: "天地玄黄宇宙洪荒" * 125_000,
    "nothing but punctuation": lambda: "-/.,;" * 200_000,
}


@pytest.mark.parametrize("content", LARGE.values(), ids=LARGE.keys())
async def test_no_message_is_so_strange_that_it_stops_the_index(
    shared: Store, content: Callable[[], str]
) -> None:
    here = await shared.conversation()
    await shared.say(here, content(), "an ordinary word")
    found = await search.find_messages(shared.pool, "ordinary", conversation=here)
    assert {hit.seq for hit in found} == {2}
    assert await search.index_messages(shared.pool) >= 2
    assert await search.index_messages(shared.pool) == 0
    found = await search.find_messages(shared.pool, "ordinary", conversation=here)
    assert {hit.seq for hit in found} == {2}


async def test_several_nodes_index_at_once_and_nothing_is_missed_or_made_twice(
    store: Store, start_writer: Another
) -> None:
    here = [await store.conversation() for _ in range(3)]
    async with start_writer(store.database, store.clock, "node-2") as other:
        for number in range(30):
            writer = (store.writer, other)[number % 2]
            await writer.submit(AppendMessage(here[number % 3], Role.USER, f"penguin {number}", ANN))
    made = await asyncio.gather(*[search.index_messages(store.pool) for _ in range(6)])
    assert sum(made) + await search.index_messages(store.pool) == 30
    assert len(await search.find_messages(store.pool, "penguins", limit=100)) == 30


async def test_what_was_said_while_somebody_indexes_is_always_found(store: Store) -> None:
    here = await store.conversation()
    for number in range(20):
        indexing = asyncio.create_task(search.index_messages(store.pool))
        (said,) = await store.say(here, f"walrus{number}")
        found = await search.find_messages(store.pool, f"walrus{number}")
        assert [hit.seq for hit in found] == [said.seq]
        await indexing


async def test_redacted_words_vanish_from_every_search_at_once(store: Store) -> None:
    here = await store.conversation()
    await store.say(here, "a secret otter", "another otter")
    for indexed in (False, True):
        if indexed:
            await search.index_messages(store.pool)
        assert len(await search.find_messages(store.pool, "otter")) == (1 if indexed else 2)
        if not indexed:
            await store.writer.submit(retention.RedactMessages(here, 1, 1, "admin", "asked"))
            assert [hit.seq for hit in await search.find_messages(store.pool, "otter")] == [2]
    await store.writer.submit(retention.RedactMessages(here, 2, 2, "admin", "asked"))
    assert await search.find_messages(store.pool, "otter") == []


ENGLISH, GERMAN = "and gulls overrunning ", "und die Möwen über dem Meer "


@pytest.mark.parametrize(
    ("around", "said", "query", "marked"),
    [
        (ENGLISH, "running", "runs", "running"),
        (GERMAN, "Häuser", "haus", "Häuser"),
        (ENGLISH, "天気", "天気", "天気"),
        (ENGLISH, "a keeper, far from the first word", "keeper tide", "tide"),
        (ENGLISH, "an old house, so green an old green house", '"old green"', "oldgreen"),
    ],
)
async def test_a_match_far_into_a_long_message_is_shown(
    shared: Store, around: str, said: str, query: str, marked: str
) -> None:
    here = await shared.conversation()
    await shared.say(here, f"tide {around * (100_000 // len(around))} {said} {around * 1_000}")
    (hit,) = await search.find_messages(
        shared.pool, query, conversation=here, languages=["english", "german"]
    )
    assert marked in "".join(hit.excerpt[1::2])
    assert sum(map(len, hit.excerpt)) < 1_000
