"""Every peer is asked at once, and each gives an answer or the reason for none, by one deadline."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from ccn import errors
from ccn.core.ids import NodeId
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.peers import client, peer_watch
from ccn.peers.client import PeerClient, Silent
from ccn.peers.exchange import NodeIntroduction
from tests.support import ports
from tests.support.peers import peer_node
from tests.support.peers.peer_node import ASK, COSIGNATURE, DECISION, ONE, THREE, TWO, Node

if TYPE_CHECKING:
    from tests.peers.conftest import Process

WITHIN_S = 30.0
"""Where the time does not matter, because the test is not about it."""


@asynccontextmanager
async def asking(addresses: dict[NodeId, str]) -> AsyncIterator[PeerClient]:
    async with client.open_client(ONE, None) as opened:
        await opened.set_addresses(addresses)
        yield opened


@asynccontextmanager
async def together(*nodes: Node) -> AsyncIterator[PeerClient]:
    """A client of these nodes."""
    async with AsyncExitStack() as stack:
        addresses = {node.node: await stack.enter_async_context(peer_node.served(node)) for node in nodes}
        yield await stack.enter_async_context(asking(addresses))


def third(**fields: object) -> Node:
    return Node(THREE, report_=peer_node.report_of(THREE), **fields)  # type: ignore[arg-type]


@pytest.fixture
def closed() -> Iterator[str]:
    """Where nobody listens."""
    with ports.reserve_port() as port:
        yield f"{ports.HOST}:{port}"


async def test_a_round_goes_to_all_peers_and_back() -> None:
    two, three = Node(shown=peer_node.chain(3)), third()
    proposal = peer_node.proposal_of()
    async with together(two, three) as peers:
        assert await peers.hello(WITHIN_S) == {each.node: await each.identify() for each in (two, three)}
        assert await peers.report(ASK, WITHIN_S) == {TWO: two.report_, THREE: three.report_}
        votes = {node: peer_node.vote_of(node, proposal) for node in (TWO, THREE)}
        assert await peers.propose(proposal, WITHIN_S) == votes
        assert await peers.decide(DECISION, WITHIN_S) == {TWO: COSIGNATURE, THREE: COSIGNATURE}
    assert two.asked == three.asked == [ASK, proposal, DECISION]


async def test_a_refusal_is_an_answer() -> None:
    refusal = Refusal(Reason.TIP, "elsewhere")
    async with together(Node(report_=refusal, cosignature=refusal)) as peers:
        assert await peers.report(ASK, WITHIN_S) == {TWO: refusal}
        assert await peers.decide(DECISION, WITHIN_S) == {TWO: refusal}


async def test_blocks_come_page_by_page() -> None:
    shown = peer_node.chain(150)
    async with together(Node(shown=shown)) as peers:
        page = await peers.find_peer(TWO).fetch_blocks(1, WITHIN_S)
        assert (page.height, page.blocks) == (150, tuple(shown[:100]))
        assert (await peers.find_peer(TWO).fetch_blocks(101, WITHIN_S)).blocks == tuple(shown[100:])
        assert (await peers.find_peer(TWO).fetch_blocks(151, WITHIN_S)).blocks == ()


async def test_a_dead_and_a_slow_peer_hold_nobody_up(closed: str) -> None:
    quick, slow = Node(), third(pause_s=30)
    async with together(quick, slow) as peers:
        await peers.set_addresses(
            {peer.node: peer.address for peer in peers.peers} | {NodeId("node-4"): closed}
        )
        assert isinstance((await peers.hello(WITHIN_S))[TWO], NodeIntroduction)
        began = time.perf_counter()
        answers = await peers.report(ASK, 2)
        took_s = time.perf_counter() - began
    assert answers[TWO] == quick.report_
    late, dead = answers[THREE], answers[NodeId("node-4")]
    assert isinstance(late, Silent)
    assert "deadline" in late.reason.lower()
    assert isinstance(dead, Silent)
    assert dead.reason.startswith("node-4: ")
    assert late.unavailable
    assert dead.unavailable
    assert 1.9 < took_s < 20


async def test_a_dead_peer_costs_less_than_the_deadline(closed: str) -> None:
    async with asking({TWO: closed}) as peers:
        began = time.perf_counter()
        assert isinstance((await peers.report(ASK, 60))[TWO], Silent)
        assert time.perf_counter() - began < 30


async def test_a_frozen_peer_is_left_behind_at_the_deadline(process: Process) -> None:
    async with asking({TWO: process.address}) as peers:
        assert isinstance((await peers.hello(WITHIN_S))[TWO], NodeIntroduction)
        process.send(signal.SIGSTOP)
        async with asyncio.timeout(WITHIN_S):
            assert isinstance((await peers.hello(0.3))[TWO], Silent)
        process.send(signal.SIGCONT)
        assert isinstance((await peers.hello(WITHIN_S))[TWO], NodeIntroduction)


async def test_a_peer_that_comes_back_is_reached_again_at_once(process: Process) -> None:
    async with asking({TWO: process.address}) as peers:
        assert isinstance((await peers.hello(WITHIN_S))[TWO], NodeIntroduction)
        process.kill()
        for _ in range(10):
            assert isinstance((await peers.hello(1))[TWO], Silent)
            await asyncio.sleep(0.1)
        process.start()
        async with asyncio.timeout(WITHIN_S):
            while isinstance((await peers.hello(1))[TWO], Silent):
                await asyncio.sleep(0.02)


async def test_reconnecting_does_not_become_slow_however_often_it_failed() -> None:
    attempts = 0

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        writer.close()

    broken = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    address = f"127.0.0.1:{broken.sockets[0].getsockname()[1]}"
    async with broken, asking({TWO: address}) as peers, asyncio.timeout(60):
        while attempts < 10:  # with gRPC's own back-off the tenth comes after a minute and a half
            await peers.hello(0.1)
            await asyncio.sleep(0.02)


async def test_a_broken_stream_tells_at_once_that_a_peer_died(process: Process) -> None:
    told: asyncio.Queue[tuple[NodeId, str]] = asyncio.Queue()
    async with asking({TWO: process.address}) as peers, asyncio.timeout(60):
        attending = asyncio.create_task(
            peer_watch.watch_peers(
                peers,
                lambda who: told.put_nowait((who.node, "came")),
                lambda node, reason: told.put_nowait((node, reason)),
            )
        )
        assert await told.get() == (TWO, "came")
        process.kill()
        node, reason = await told.get()
        assert (node, reason[:8]) == (TWO, "node-2: ")
        assert "ping timeout" not in reason, "nobody waited for it to be silent"
        process.start()
        assert await told.get() == (TWO, "came")
        attending.cancel()
        await asyncio.wait([attending])


async def test_a_frozen_peer_is_missed_although_its_machine_still_answers(process: Process) -> None:
    came, gone = asyncio.Event(), asyncio.Queue[str]()
    async with asking({TWO: process.address}) as peers, asyncio.timeout(60):
        attending = asyncio.create_task(
            peer_watch.watch_peers(peers, lambda _: came.set(), lambda _, reason: gone.put_nowait(reason))
        )
        await came.wait()
        process.send(signal.SIGSTOP)
        async with asyncio.timeout(30):  # two seconds of silence, two of waiting for an echo, and room
            assert "ping timeout" in await gone.get()
        attending.cancel()
        await asyncio.wait([attending])


async def test_a_peer_that_stops_in_order_says_so_and_one_that_is_forgotten_is_no_news() -> None:
    told = list[tuple[NodeId, str]]()
    came = asyncio.Queue[NodeIntroduction]()
    async with asyncio.timeout(60), AsyncExitStack() as first, asking({}) as peers:
        attending = asyncio.create_task(
            peer_watch.watch_peers(peers, came.put_nowait, lambda node, reason: told.append((node, reason)))
        )
        two = await first.enter_async_context(peer_node.served(Node()))
        async with peer_node.served(third()) as three:
            await peers.set_addresses({TWO: two, THREE: three})
            assert {(await came.get()).node, (await came.get()).node} == {TWO, THREE}
            await peers.set_addresses({THREE: three})
            assert told == []
        while not told:
            await asyncio.sleep(0.01)
        assert told == [(THREE, "node-3 is stopping")]
        attending.cancel()
        await asyncio.wait([attending])


async def test_somebody_else_at_the_address_is_not_taken_for_the_peer() -> None:
    async with peer_node.served(third()) as address, asking({TWO: address}) as peers:
        for answers in (
            await peers.hello(WITHIN_S),
            await peers.report(ASK, WITHIN_S),
            await peers.propose(peer_node.proposal_of(), WITHIN_S),
        ):
            answer = answers[TWO]
            assert isinstance(answer, Silent)
            assert "node-3 answers" in answer.reason
            assert not answer.unavailable


async def test_an_answer_that_cannot_be_read_is_the_peers_fault() -> None:
    spoilt = COSIGNATURE.__class__("a name with blanks", b"1", b"2")
    async with together(Node(cosignature=spoilt)) as peers:
        answer = (await peers.decide(DECISION, WITHIN_S))[TWO]
    assert isinstance(answer, Silent)
    assert "answered what cannot be read" in answer.reason


async def test_a_page_that_begins_elsewhere_is_refused() -> None:
    class Elsewhere(Node):
        async def load_blocks(self, first: int, count: int) -> tuple[list[object], int]:  # type: ignore[override]
            return [peer_node.chain(2)[1]], 2

    async with together(Elsewhere()) as peers:
        with pytest.raises(errors.PeerRefused, match="asked for block 1"):
            await peers.find_peer(TWO).fetch_blocks(1, WITHIN_S)


async def test_connections_that_still_fit_are_kept_and_this_node_is_no_peer() -> None:
    async with peer_node.served(Node()) as address, asking({TWO: address}) as peers:
        before = peers.find_peer(TWO)
        await peers.set_addresses({ONE: address, TWO: address})
        assert peers.peers == (before,)
        await peers.set_addresses({TWO: "127.0.0.1:1"})
        assert peers.peers != (before,)
        with pytest.raises(errors.PeerUnavailable, match="nobody knows where node-3 is"):
            peers.find_peer(THREE)


async def test_a_call_under_way_ends_when_the_peer_is_forgotten() -> None:
    async with together(Node(pause_s=30)) as peers, asyncio.timeout(WITHIN_S):
        asking_ = asyncio.create_task(peers.report(ASK, 30))
        await asyncio.sleep(0.1)
        await peers.set_addresses({})
        assert isinstance((await asking_)[TWO], Silent)


async def test_cancelling_a_question_is_not_taken_for_a_closed_connection() -> None:
    async with together(Node(pause_s=30)) as peers:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await peers.report(ASK, 30)


async def test_beyond_this_machine_there_is_no_talk_without_certificates() -> None:
    async with asking({}) as peers:
        for address in ("10.0.0.7:7702", "node-2.example.org:7702", "[2001:db8::1]:7702"):
            with pytest.raises(errors.SettingsInvalid, match="certificates"):
                await peers.set_addresses({TWO: address})
        with pytest.raises(errors.SettingsInvalid, match="host:port"):
            await peers.set_addresses({TWO: "https://127.0.0.1"})


async def test_talking_without_certificates_is_said_once() -> None:
    with capture_logs() as logs:
        async with together(Node()) as peers:
            await peers.hello(WITHIN_S)
            await peers.hello(WITHIN_S)
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == [
        "nodes talk without TLS, on this machine only"
    ]
