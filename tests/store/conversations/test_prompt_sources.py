"""A new conversation remembers the earlier ones with the same person, and nothing that was taken out."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from ccn import errors
from ccn.core.axes import AXES, Vector
from ccn.core.ids import CharacterId, ConversationId, InstanceId, UserId
from ccn.core.message import Role
from ccn.core.prompts import plate, prompt
from ccn.core.prompts.anchor import Anchor, MeasuredStates, RecalledConversation, ShownState, StateSource
from ccn.store.character import vectors
from ccn.store.conversations import characters, conversations, prompt_sources
from ccn.store.conversations.anchors import KeepAnchor
from ccn.store.conversations.conversations import AppendMessage
from ccn.store.upkeep.retention import RedactMessages
from tests.support.speakers import ANN

if TYPE_CHECKING:
    import asyncpg

    from tests.support.store.open_store import Store

ADA = CharacterId("ada")
PLATE = plate.parse_plate("# Ada\nKeeps her word.")
LIMITS = prompt.PromptLimits("model-1")
SECRET = "qwxrtz"


async def _exchange(store: Store, here: ConversationId, *words: str) -> None:
    for nth, each in enumerate(words):
        role = Role.ASSISTANT if nth % 2 else Role.USER
        await store.writer.submit(AppendMessage(here, role, each, ANN))


async def places(
    store: Store, owner: UserId | None, besides: ConversationId | None = None
) -> tuple[RecalledConversation, ...]:
    return (await prompt_sources.load_beginning(store.pool, ADA, owner, besides=besides)).places


async def test_the_last_twenty_with_this_person_are_remembered_oldest_first(shared: Store) -> None:
    me, somebody = await shared.user(), await shared.user()
    made = list[ConversationId]()
    for nth in range(25):
        shared.clock.forward(minutes=1)
        made.append(await shared.conversation(me, f"talk {nth}"))
        await _exchange(shared, made[-1], f"question {nth}", f"answer {nth}")
        await _exchange(shared, await shared.conversation(somebody), "not mine")
        await shared.conversation(me, "never said a word")
    found = await prompt_sources.load_beginning(shared.pool, ADA, me, besides=made[-1])
    assert found.places == tuple(RecalledConversation(each, 2) for each in made[4:24])
    assert found.memories == await prompt_sources.load_memories(shared.pool, found.places)
    assert [each.content for each in found.memories[0].messages] == ["question 4", "answer 4"]


async def test_neither_another_characters_nor_nobodys_conversations_are_remembered(shared: Store) -> None:
    me, bob = await shared.user(), CharacterId("bob")
    await characters.import_plate(shared.pool, shared.writer, bob, "Bob", "# Bob\nElse.", "test")
    with_bob = await shared.writer.submit(conversations.BeginConversation(shared.new_id(), bob, me))
    await _exchange(shared, with_bob.id, "to bob")
    await _exchange(shared, await shared.conversation(None), "by nobody")
    assert await places(shared, me) == ()
    assert await places(shared, None) == ()


async def test_a_conversation_begins_with_the_newest_plate_state_and_the_name_of_its_person(
    store: Store,
) -> None:
    me = await store.user()
    with pytest.raises(errors.NotFound, match="there is no character"):
        await prompt_sources.load_beginning(store.pool, CharacterId("nobody"), me)
    began = await prompt_sources.load_beginning(store.pool, ADA, me)
    assert (began.plate, began.state.character, began.places, began.memories) == (1, None, (), ())
    assert began.collaborator == await store.pool.value("SELECT name FROM users WHERE id = $1", me)
    assert (await prompt_sources.load_beginning(store.pool, ADA, None)).collaborator == ""
    await characters.import_plate(store.pool, store.writer, ADA, "Ada", "# Ada\nMore.", "test")
    for value in (400_000, 600_000):
        here = await store.conversation(me)
        await _exchange(store, here, "hello")
        said = Vector((value,) * len(AXES))
        await store.writer.submit(
            vectors.RecordScore(here, 1, said, "tier-0/v1", InstanceId(store.new_id()))
        )
        store.clock.forward(minutes=1)
    began = await prompt_sources.load_beginning(store.pool, ADA, me)
    assert (began.plate, began.state) == (2, ShownState(0, said, source=StateSource.EARLIER))
    assert (
        await prompt_sources.load_beginning(store.pool, ADA, me, besides=here)
    ).state.character == Vector((400_000,) * len(AXES))
    for other in (await store.user(), None):
        assert (await prompt_sources.load_beginning(store.pool, ADA, other)).state.character is None


async def test_a_conversation_begins_with_what_the_newest_block_agreed_on_if_that_is_of_several_people(
    direct: asyncpg.Connection[asyncpg.Record],
) -> None:
    await direct.execute("SET LOCAL session_replication_role = replica")
    of_three, of_two, before_owners = {"owners": 3}, {"owners": 2}, dict[str, int]()
    told = [("ada", of_three), ("bob", of_two), ("ada", of_two), ("ada", before_owners), ("ada", of_three)]
    agreed = list[object]()
    for height, (name, counted) in enumerate(told, 1):
        body = json.dumps({"drift": [], "median": [height] * len(AXES), **counted}).encode()
        await direct.execute("INSERT INTO block_results VALUES ($1, $2, $3)", height, name, body)
        row = await direct.fetchrow(prompt_sources._NEWEST, ADA, None, None, 3)
        assert row is not None
        agreed.append(row["agreed"] and json.loads(row["agreed"]))
    first, last = [1] * len(AXES), [5] * len(AXES)
    assert agreed == [first, first, None, None, last]


async def test_a_memory_is_how_a_conversation_began_and_ended_when_it_was_remembered(shared: Store) -> None:
    me = await shared.user()
    here = await shared.conversation(me, "Numbers")
    await _exchange(shared, here, *map(str, range(1, 9)))
    [place] = await places(shared, me)
    await _exchange(shared, here, "nine", "ten")
    [memory] = await prompt_sources.load_memories(shared.pool, [place])
    assert [each.content for each in memory.messages] == ["1", "2", "7", "8"]
    assert (memory.title, memory.date) == ("Numbers", f"{shared.clock.now:%Y-%m-%d}")


@pytest.mark.parametrize(("upto", "quoted"), [(1, "1"), (2, "12"), (3, "123"), (4, "1234"), (6, "1256")])
async def test_a_short_conversation_is_quoted_whole(shared: Store, upto: int, quoted: str) -> None:
    here = await shared.conversation(await shared.user())
    await _exchange(shared, here, *"123456789")
    [memory] = await prompt_sources.load_memories(shared.pool, [RecalledConversation(here, upto)])
    assert "".join(each.content or "" for each in memory.messages) == quoted


async def test_a_long_message_travels_as_its_beginning_only(shared: Store) -> None:
    me = await shared.user()
    await _exchange(shared, await shared.conversation(me), "x" * 900_000)
    began = await prompt_sources.load_beginning(shared.pool, ADA, me)
    assert len(began.memories[0].messages[0].content or "") < 1_000
    [memory] = await prompt_sources.load_memories(shared.pool, began.places)
    assert len(memory.messages[0].content or "") < 1_000


async def test_a_scene_holds_what_is_quoted_and_all_from_where_the_history_begins(shared: Store) -> None:
    here = await shared.conversation()
    await _exchange(shared, here, *map(str, range(1, 101)))
    anchor = Anchor(1, kept_from=61)
    scene = await prompt_sources.load_scene(shared.pool, here, anchor, 99, LIMITS)
    places = {each.seq for each in scene.messages}
    assert places == {*prompt.places_to_quote(61), *range(61, 101)}
    call = prompt.build_call(PLATE, anchor, scene, LIMITS)
    assert call.messages[-1].text == "99"


async def test_no_more_is_read_than_a_prompt_may_hold(shared: Store) -> None:
    here = await shared.conversation()
    await _exchange(shared, here, *(f"{nth} " + "words " * 2_000 for nth in range(1, 42)))
    limits = prompt.PromptLimits("model-1", budget=20_000)
    scene = await prompt_sources.load_scene(shared.pool, here, Anchor(1), 41, limits)
    assert sum(len(each.content or "") for each in scene.messages) <= 20_000 * 5
    settled = prompt.update_anchor(PLATE, Anchor(1), scene, MeasuredStates(), limits)
    assert settled.kept_from > 1
    again = await prompt_sources.load_scene(shared.pool, here, settled, 41, limits)
    assert prompt.build_call(PLATE, settled, again, limits).messages[-1].text.startswith("41 ")


async def test_another_node_builds_the_same_bytes(shared: Store) -> None:
    me = await shared.user()
    await _exchange(shared, await shared.conversation(me, "Before"), "then", "indeed")
    here = await shared.conversation(me)
    await _exchange(shared, here, "one", "two", "three")
    anchor = Anchor(1, memories=await places(shared, me, here))
    calls = [
        prompt.build_call(
            PLATE,
            anchor,
            await prompt_sources.load_scene(shared.pool, here, anchor, 3, LIMITS, "Bo"),
            LIMITS,
        )
        for _ in range(2)
    ]
    assert calls[0] == calls[1]
    assert "then" in prompt.call_to_text(calls[0])


async def test_redacted_words_are_in_no_anchor_and_in_no_prompt_any_more(store: Store) -> None:
    me = await store.user()
    before = await store.conversation(me, f"The {SECRET}")
    await _exchange(store, before, f"My {SECRET}.", "Nice.", "And you?", f"Your {SECRET}.")
    here = await store.conversation(me)
    await _exchange(store, here, f"Still the {SECRET}.", "Yes.", "Good.")
    remembered = await places(store, me, here)
    anchor = await store.writer.submit(KeepAnchor(here, Anchor(1, memories=remembered)))
    scene = await prompt_sources.load_scene(store.pool, here, anchor, 3, LIMITS)
    assert prompt.call_to_text(prompt.build_call(PLATE, anchor, scene, LIMITS)).count(SECRET) == 4
    rows = await store.pool.rows("SELECT a::text FROM prompt_anchors a")
    assert SECRET not in json.dumps([row["a"] for row in rows])
    await store.writer.submit(RedactMessages(before, 1, 4, "admin", "asked"))
    await store.writer.submit(RedactMessages(here, 1, 1, "admin", "asked"))
    scene = await prompt_sources.load_scene(store.pool, here, anchor, 3, LIMITS)
    shown = prompt.call_to_text(prompt.build_call(PLATE, anchor, scene, LIMITS))
    assert SECRET not in shown
    assert "(This message was removed.)" in shown


async def _nodes(pool: Any, sql: str, *values: object) -> list[dict[str, Any]]:
    rows = await pool.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *values)
    found, todo = list[dict[str, Any]](), [json.loads(rows[0][0])[0]["Plan"]]
    while todo:
        found.append(todo.pop())
        todo += found[-1].get("Plans", [])
    return found


async def test_a_large_corpus_is_read_through_indexes_alone(
    shared: Store, direct: asyncpg.Connection[asyncpg.Record], capsys: pytest.CaptureFixture[str]
) -> None:
    owner = await shared.user()
    await direct.execute("SET LOCAL session_replication_role = replica")
    await direct.execute(
        "INSERT INTO conversations (id, character_id, owner_id, created_at, changed_at, head_seq)"
        " SELECT gen_random_uuid(), 'ada', CASE WHEN n % 40 = 0 THEN $1::uuid ELSE gen_random_uuid() END,"
        " now() - n * interval '1 min', now(), 20 FROM generate_series(1, 2000) n",
        owner,
    )
    await direct.execute(
        "INSERT INTO messages"
        " (conversation_id, seq, role, content, salt, speaker, created_at, leaf_node, leaf_number)"
        " SELECT c.id, s, CASE WHEN s % 2 = 1 THEN 'user' ELSE 'assistant' END, 'some words',"
        " sha256('x'), 'account:' || gen_random_uuid(), now(), 'bulk', row_number() OVER ()"
        " FROM conversations c, generate_series(1, 20) s"
        " WHERE c.head_seq = 20"
    )
    await direct.execute("ANALYZE conversations; ANALYZE messages")
    recent = (prompt_sources._RECENT, ADA, owner, None, 20, 800)
    plan = await _nodes(direct, *recent)
    used = {node["Index Name"] for node in plan if "Index Name" in node}
    assert used == {"conversations_memory", "messages_pkey"}
    rows = {row["conversation_id"]: row["upto"] for row in await direct.fetch(*recent)}
    columns = [[*rows], [*rows.values()], 800]
    plan = await _nodes(direct, prompt_sources._RECALLED, *columns)
    assert not [node["Relation Name"] for node in plan if node["Node Type"] == "Seq Scan"]
    took = list[float]()
    for _ in range(50):
        began = time.perf_counter()
        await direct.fetch(*recent)
        await direct.fetch(prompt_sources._RECALLED, *columns)
        took.append(time.perf_counter() - began)
    with capsys.disabled():
        sys.stdout.write(f"\n20 memories among 40 000 messages: {sorted(took)[25] * 1e3:.2f} ms p50\n")
