"""The gRPC door for conversations: spawn, converse, follow, list and end them, each only one's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc  # type: ignore[import-untyped]
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped]
    reflection_pb2,
    reflection_pb2_grpc,
)

from ccn import errors, settings
from ccn.certificates import issuing
from ccn.core import error_codes
from ccn.core.ids import ConversationId, NodeId, TurnId
from ccn.core.message import Message, Role
from ccn.core.stream import EventKind, StreamEvent, StreamPosition
from ccn.core.turn import is_ended
from ccn.gateway import readiness
from ccn.gateway.grpc import instances, presenters, server, statuses
from ccn.gateway.http import problems
from ccn.pb import instances_pb2 as pb
from ccn.store.accounts.users import Tier
from tests.support.gateway import grpc_door
from tests.support.gateway.grpc_door import Door
from tests.support.node import node_world

WITHIN_S = 60
Code = grpc.StatusCode
Metadata = tuple[tuple[str, str], ...]


@asynccontextmanager
async def door(
    database: settings.DatabaseSettings, model: node_world.Model | None = None, **chosen: Any
) -> AsyncIterator[Door]:
    world = await node_world.found_world(database)
    async with world.node("node-1", model) as node, grpc_door.serve_node(node, **chosen) as served:
        yield served


async def refused(call: Any) -> tuple[Any, str]:
    """The status and the code with which a call ends."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await everything(call) if hasattr(call, "__aiter__") else await call
    return failed.value.code(), dict(failed.value.trailing_metadata())[statuses.CODE]


async def everything(call: Any) -> list[pb.Event]:
    async with asyncio.timeout(WITHIN_S):
        return [event async for event in call]


async def spawned(here: Door, caller: Metadata) -> str:
    answer = await here.instances.Spawn(pb.SpawnRequest(character="ada"), metadata=caller, timeout=WITHIN_S)
    return answer.conversation.id


def text(events: list[pb.Event]) -> str:
    return "".join(event.delta for event in events if event.WhichOneof("what") == "delta")


async def test_one_spawns_converses_and_reads_what_was_said(database: settings.DatabaseSettings) -> None:
    async with door(database) as here:
        caller = await here.caller()
        asked = pb.SpawnRequest(character="ada", title="tea", idempotency_key="k")
        first = await here.instances.Spawn(asked, metadata=caller, timeout=WITHIN_S)
        again = await here.instances.Spawn(asked, metadata=caller, timeout=WITHIN_S)
        assert first.conversation == again.conversation
        assert (first.conversation.title, first.conversation.open) == ("tea", True)
        assert (first.instance.status, first.instance.host) == ("running", "node-1")
        talk = first.conversation.id

        saying = pb.ConverseRequest(conversation=talk, content="Hello!")
        events = await everything(here.instances.Converse(saying, metadata=caller))
        assert [events[0].WhichOneof("what"), events[-1].WhichOneof("what")] == ["accepted", "done"]
        assert events[0].accepted.seq == 1
        assert text(events) == "Well, I am here."
        assert (events[-1].done.stop, events[-1].done.output_tokens) == ("end_turn", 5)

        history = await here.instances.History(pb.HistoryRequest(conversation=talk), metadata=caller)
        assert [(each.seq, each.role, each.content) for each in history.messages] == [
            (1, "user", "Hello!"),
            (2, "assistant", "Well, I am here."),
        ]
        newest = pb.HistoryRequest(conversation=talk, limit=1)
        page = await here.instances.History(newest, metadata=caller)
        assert ([each.seq for each in page.messages], page.before) == ([2], 2)


def test_that_the_model_is_asked_again_is_told_at_a_place_to_go_on_after() -> None:
    turn = TurnId(uuid4())
    why = '{"number":2,"most":5,"pause_s":4.0,"reason":"network"}'
    told = presenters.event_to_pb(turn, StreamEvent(StreamPosition(1, 0), EventKind.WAITING, why))
    assert (told.id, told.WhichOneof("what")) == (f"{turn}:1-0", "waiting")
    assert (told.waiting.number, told.waiting.most, told.waiting.reason) == (2, 5, "network")


async def test_a_stream_is_followed_from_any_of_its_events(database: settings.DatabaseSettings) -> None:
    async with door(database) as here:
        caller = await here.caller()
        talk = await spawned(here, caller)
        saying = pb.ConverseRequest(conversation=talk, content="Hello!")
        events = await everything(here.instances.Converse(saying, metadata=caller))
        for nth, event in enumerate(events):
            after = pb.FollowRequest(conversation=talk, after=event.id)
            rest = await everything(here.instances.Follow(after, metadata=caller))
            assert text(rest) == text(events[nth + 1 :])


async def test_the_same_key_is_the_same_turn_and_not_for_another_message(
    database: settings.DatabaseSettings,
) -> None:
    async with door(database) as here:
        caller = await here.caller()
        talk = await spawned(here, caller)

        def say(words: str) -> Any:
            asked = pb.ConverseRequest(conversation=talk, content=words, idempotency_key="k")
            return here.instances.Converse(asked, metadata=caller)

        first, again = await everything(say("Hello!")), await everything(say("Hello!"))
        assert first[0] == again[0]
        assert text(first) == text(again)
        assert await refused(say("Goodbye!")) == (Code.ALREADY_EXISTS, "idempotency_conflict")


async def test_a_call_that_ends_does_not_end_the_turn(database: settings.DatabaseSettings) -> None:
    gate = asyncio.Event()
    model = node_world.Model(gate=lambda nth: gate.wait() if nth else asyncio.sleep(0))
    async with door(database, model) as here:
        caller = await here.caller()
        talk = await spawned(here, caller)
        call = here.instances.Converse(
            pb.ConverseRequest(conversation=talk, content="Hello!"), metadata=caller
        )
        first = await anext(aiter(call))
        call.cancel()
        late = here.instances.Converse(
            pb.ConverseRequest(conversation=talk, content="And?"), metadata=caller, timeout=2
        )
        reading = aiter(late)
        assert (await anext(reading)).WhichOneof("what") == "accepted"
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await anext(reading)
        assert failed.value.code() is Code.DEADLINE_EXCEEDED
        gate.set()
        turn = TurnId(UUID(first.accepted.turn))
        await here.node.wait_until(turn, lambda standing: is_ended(standing.status))
        assert await here.node.reply(turn) == "Well, I am here."


async def test_a_turn_is_cancelled_when_asked_and_a_busy_conversation_refuses_when_asked(
    database: settings.DatabaseSettings,
) -> None:
    model = node_world.Model(gate=lambda nth: asyncio.Event().wait() if nth else asyncio.sleep(0))
    async with door(database, model) as here:
        caller = await here.caller()
        talk = await spawned(here, caller)
        call = here.instances.Converse(
            pb.ConverseRequest(conversation=talk, content="Hello!"), metadata=caller
        )
        reading = aiter(call)
        first = await anext(reading)
        busy = pb.ConverseRequest(conversation=talk, content="Hey!", refuse_if_busy=True)
        told = await refused(here.instances.Converse(busy, metadata=caller))
        assert told == (Code.FAILED_PRECONDITION, "turn_running")
        cancel = pb.CancelRequest(conversation=talk, turn=first.accepted.turn)
        assert (
            await here.instances.Cancel(cancel, metadata=caller, timeout=WITHIN_S)
        ).status == "cancelled"
        assert [event async for event in reading][-1].WhichOneof("what") == "cancelled"


async def test_a_reply_that_fails_says_why(database: settings.DatabaseSettings) -> None:
    async with door(database) as here:
        caller = await here.caller()
        talk = await spawned(here, caller)
        here.node.model.fails = errors.ModelUnavailable("nobody answers")
        saying = pb.ConverseRequest(conversation=talk, content="Hello!")
        last = (await everything(here.instances.Converse(saying, metadata=caller)))[-1]
        assert (last.failed.code, last.failed.detail) == ("model_unavailable", "nobody answers")


async def test_instances_are_listed_page_by_page_to_their_owners_and_to_admins(
    database: settings.DatabaseSettings,
) -> None:
    async with door(database) as here:
        ann, bob, admin = await here.caller(), await here.caller(), await here.caller(Tier.ADMIN)
        hers = {await spawned(here, ann) for _ in range(3)}
        his = {await spawned(here, bob)}

        async def listed(caller: Metadata, size: int) -> list[str]:
            found, token = list[str](), ""
            while True:
                asked = pb.ListRequest(page_size=size, page_token=token)
                page = await here.instances.List(asked, metadata=caller)
                found += [each.conversation for each in page.instances]
                if not (token := page.next_page_token):
                    return found

        assert set(await listed(ann, 2)) == hers
        assert set(await listed(bob, 2)) == his
        assert set(await listed(admin, 3)) == hers | his
        assert len(await listed(admin, 3)) == 4


async def test_a_terminated_instance_is_gone_and_a_closed_conversation_stays_closed(
    database: settings.DatabaseSettings,
) -> None:
    async with door(database) as here:
        caller = await here.caller()
        talk = await spawned(here, caller)
        get = pb.GetRequest(conversation=talk)
        assert (await here.instances.Get(get, metadata=caller)).HasField("instance")
        ending = pb.TerminateRequest(conversation=talk)
        await here.instances.Terminate(ending, metadata=caller, timeout=WITHIN_S)
        found = await here.instances.Get(get, metadata=caller)
        assert found.conversation.open
        assert not found.HasField("instance")

        saying = pb.ConverseRequest(conversation=talk, content="Still there?")
        assert text(await everything(here.instances.Converse(saying, metadata=caller)))

        closing = pb.TerminateRequest(conversation=talk, close=True, reason="done")
        await here.instances.Terminate(closing, metadata=caller, timeout=WITHIN_S)
        assert not (await here.instances.Get(get, metadata=caller)).conversation.open
        assert await refused(here.instances.Converse(saying, metadata=caller)) == (Code.ABORTED, "conflict")


async def test_what_belongs_to_somebody_else_looks_like_nothing(
    database: settings.DatabaseSettings,
) -> None:
    async with door(database) as here:
        ann, bob, admin = await here.caller(), await here.caller(), await here.caller(Tier.ADMIN)
        hers, his = await spawned(here, ann), await spawned(here, bob)
        saying = pb.ConverseRequest(conversation=hers, content="Hello!")
        event = (await everything(here.instances.Converse(saying, metadata=ann)))[0]
        nobodys = str(uuid4())

        def calls(conversation: str, caller: Metadata) -> list[Any]:
            stub, own = here.instances, here.continuity
            turn = event.accepted.turn
            return [
                stub.Get(pb.GetRequest(conversation=conversation), metadata=caller),
                stub.Converse(pb.ConverseRequest(conversation=conversation, content="x"), metadata=caller),
                stub.Follow(pb.FollowRequest(conversation=conversation, after=event.id), metadata=caller),
                stub.Cancel(pb.CancelRequest(conversation=conversation, turn=turn), metadata=caller),
                stub.Terminate(pb.TerminateRequest(conversation=conversation), metadata=caller),
                stub.History(pb.HistoryRequest(conversation=conversation), metadata=caller),
                own.Prompt(pb.PromptRequest(conversation=conversation), metadata=caller),
                own.Record(
                    pb.RecordRequest(conversation=conversation, role="user", content="x"), metadata=caller
                ),
                own.Health(pb.HealthRequest(conversation=conversation), metadata=caller),
            ]

        for conversation in (hers, nobodys):
            for call in calls(conversation, bob):
                assert await refused(call) == (Code.NOT_FOUND, "not_found")
        stub = here.instances
        for turn in (event.accepted.turn, nobodys):  # under a conversation of one's own
            cancel = pb.CancelRequest(conversation=his, turn=turn)
            assert await refused(stub.Cancel(cancel, metadata=bob)) == (Code.NOT_FOUND, "not_found")
            follow = pb.FollowRequest(conversation=his, after=f"{turn}:0-0")
            assert await refused(stub.Follow(follow, metadata=bob)) == (Code.NOT_FOUND, "not_found")
        why = (*admin, ("ccn-reason", "asked by its owner"))
        assert (await stub.Get(pb.GetRequest(conversation=hers), metadata=why)).conversation.id == hers


NO_CREDENTIALS: tuple[tuple[Metadata, str], ...] = (
    ((), "unauthenticated"),
    ((("x-api-key", "ccn_madeup"),), "credential_invalid"),
    ((("authorization", "Bearer a.b.c"),), "credential_invalid"),
    ((("authorization", "Basic YTpi"),), "unauthenticated"),
)


async def test_nobody_comes_in_without_a_credential_that_counts(
    database: settings.DatabaseSettings,
) -> None:
    async with door(database) as here:
        for metadata, code in NO_CREDENTIALS:
            for call in (
                here.instances.Spawn(pb.SpawnRequest(character="ada"), metadata=metadata),
                here.instances.Converse(pb.ConverseRequest(), metadata=metadata),
            ):
                assert await refused(call) == (Code.UNAUTHENTICATED, code)


async def test_a_key_is_taken_as_a_bearer_too(database: settings.DatabaseSettings) -> None:
    async with door(database) as here:
        ((_, key),) = await here.caller()
        bearer = (("authorization", f"Bearer {key}"),)
        assert not (await here.instances.List(pb.ListRequest(), metadata=bearer)).instances


async def test_who_asks_too_often_is_told_how_long_to_wait(database: settings.DatabaseSettings) -> None:
    async with door(database, limits=settings.LimitsSettings(requests=2)) as here:
        caller, left = await here.caller(), list[str]()
        for _ in range(2):
            call = here.instances.List(pb.ListRequest(), metadata=caller)
            await call
            left.append(dict(await call.initial_metadata())["x-ratelimit-remaining"])
        assert left == ["1", "0"]
        call = here.instances.List(pb.ListRequest(), metadata=caller)
        assert await refused(call) == (Code.RESOURCE_EXHAUSTED, "too_many_requests")
        assert int(dict(await call.trailing_metadata())[statuses.RETRY_AFTER]) > 0
        another = await here.caller()
        await here.instances.List(pb.ListRequest(), metadata=another)


async def test_what_makes_no_sense_is_refused_as_the_callers_fault(
    database: settings.DatabaseSettings,
) -> None:
    invalid = Code.INVALID_ARGUMENT, "input_invalid"
    async with door(database) as here:
        stub, caller = here.instances, await here.caller()
        talk = await spawned(here, caller)
        record = pb.RecordRequest(conversation=talk, role="system", content="x")
        for call in (
            stub.Converse(pb.ConverseRequest(conversation="x", content="x"), metadata=caller),
            stub.Converse(pb.ConverseRequest(content="x"), metadata=caller),
            stub.Follow(pb.FollowRequest(conversation=talk, after="x"), metadata=caller),
            stub.Spawn(pb.SpawnRequest(character="\x00"), metadata=caller),
            stub.List(pb.ListRequest(page_token="x"), metadata=caller),
            stub.History(pb.HistoryRequest(conversation="{}"), metadata=caller),
            here.continuity.Record(record, metadata=caller),
        ):
            assert await refused(call) == invalid
        nobody = pb.SpawnRequest(character="nobody")
        assert await refused(stub.Spawn(nobody, metadata=caller)) == (Code.NOT_FOUND, "not_found")


async def test_hostile_words_are_refused_and_change_nothing(database: settings.DatabaseSettings) -> None:
    async with door(database) as here:
        caller = await here.caller()
        talk = await spawned(here, caller)
        for words in ("", "   ", "a\x00b", "x" * 1_000_001):
            saying = pb.ConverseRequest(conversation=talk, content=words)
            told = await refused(here.instances.Converse(saying, metadata=caller))
            assert told == (Code.INVALID_ARGUMENT, "input_invalid")
        far = pb.HistoryRequest(conversation=talk, before=2**63 + 5)
        assert (await refused(here.instances.History(far, metadata=caller)))[0] is Code.INVALID_ARGUMENT
        assert not (
            await here.instances.History(pb.HistoryRequest(conversation=talk), metadata=caller)
        ).messages


def test_a_page_of_history_fits_into_what_clients_take() -> None:
    here, at = ConversationId(node_world.new_id()), datetime.now(UTC)
    said = tuple(Message(here, seq, Role.USER, "ä" * 1_000_000, at) for seq in range(1, 4))
    assert [each.seq for each in instances._fit_page(said)] == [3]
    assert instances._fit_page(()) == ()


async def test_health_and_reflection_know_the_services(database: settings.DatabaseSettings) -> None:
    async with door(database) as here, asyncio.timeout(WITHIN_S):
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        stub = reflection_pb2_grpc.ServerReflectionStub(here.channel)
        answers = stub.ServerReflectionInfo(iter([asked]))
        listed = {each.name for each in (await answers.read()).list_services_response.service}
        assert {"ccn.v1.Instances", "ccn.v1.Continuity", "ccn.v1.Cluster"} <= listed
        answers.cancel()
        health = health_pb2_grpc.HealthStub(here.channel)
        for name in listed - {"grpc.reflection.v1alpha.ServerReflection"}:
            await health.Check(health_pb2.HealthCheckRequest(service=name))


async def test_the_door_speaks_tls_when_it_has_a_certificate(
    database: settings.DatabaseSettings, tmp_path: Path
) -> None:
    authority = issuing.issue_authority(datetime.now(UTC))
    issued = issuing.issue_certificate(authority, NodeId("node-1"), (), datetime.now(UTC))
    chosen = settings.GrpcSettings(port=0, tls_certificate=tmp_path / "c.pem", tls_key=tmp_path / "k.pem")
    (tmp_path / "c.pem").write_bytes(issued.certificate)
    (tmp_path / "k.pem").write_bytes(issued.key)
    shown = grpc.ssl_channel_credentials(authority.certificate)
    async with door(database, door=chosen, credentials_of_server=shown) as here:
        assert await spawned(here, await here.caller())
        async with grpc.aio.insecure_channel(here.target) as plain:
            with pytest.raises(grpc.aio.AioRpcError):
                await health_pb2_grpc.HealthStub(plain).Check(
                    health_pb2.HealthCheckRequest(), timeout=WITHIN_S
                )


@pytest.mark.parametrize("missing", ["certificate", "key", "file"])
async def test_half_a_certificate_is_refused_by_name(tmp_path: Path, missing: str) -> None:
    certificate = None if missing == "certificate" else tmp_path / "c.pem"
    key = None if missing == "key" else tmp_path / "k.pem"
    chosen = settings.GrpcSettings(port=0, tls_certificate=certificate, tls_key=key)
    with pytest.raises(errors.SettingsInvalid, match="CCN_GRPC_TLS_"):
        server.GrpcServer(readiness.Readiness({})).listen(chosen)


def every(kind: type[errors.CCNError] = errors.CCNError) -> list[type[errors.CCNError]]:
    return [kind, *(below for each in kind.__subclasses__() for below in every(each))]


@pytest.mark.parametrize("kind", every())
def test_every_error_has_a_status_and_the_code_it_has_at_the_other_door(
    kind: type[errors.CCNError],
) -> None:
    assert statuses.status_of_error(kind) in set(Code)
    assert error_codes.code_from_name(kind.__name__) == problems.code_of_error(kind)
