"""The door for the other nodes: who is let in, what is refused, and how much at a time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from ccn import errors, settings
from ccn.certificates import issuing
from ccn.certificates.identity import TlsIdentity
from ccn.certificates.issuing import IssuedCertificate
from ccn.core.ids import NodeId
from ccn.gateway.grpc import peer
from ccn.gateway.grpc.peer import PeerServer
from ccn.pb import peer_pb2 as pb
from ccn.pb import peer_pb2_grpc
from ccn.peers import client, failure, limits, methods, wire
from ccn.peers.client import PeerClient, Silent
from ccn.peers.exchange import ForwardedRequest, Greeting, NodeIntroduction, ReportRequest
from tests.support.peers import peer_node
from tests.support.peers.peer_node import ASK, INSTANCE, ONE, THREE, TWO, Node, identity_of

Code = grpc.StatusCode
WITHIN_S = 30.0
"""Where the time does not matter, because the test is not about it."""


@pytest.fixture(scope="module")
def authority() -> IssuedCertificate:
    return issuing.issue_authority(datetime.now(UTC))


@asynccontextmanager
async def reaching(address: str, own: NodeId, shown: TlsIdentity | None) -> AsyncIterator[PeerClient]:
    async with client.open_client(own, shown) as opened:
        await opened.set_addresses({TWO: address})
        yield opened


@asynccontextmanager
async def bare(node: Node) -> AsyncIterator[grpc.aio.Channel]:
    """A channel without the client, for what the client would never send."""
    async with peer_node.served(node) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


async def refusal(call: Any) -> tuple[Any, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await asyncio.wait_for(call, 60)
    return refused.value.code(), refused.value.details()


async def silence(address: str, own: NodeId, shown: TlsIdentity | None) -> str:
    async with reaching(address, own, shown) as peers:
        answer = (await peers.hello(WITHIN_S))[TWO]
    assert isinstance(answer, Silent), answer
    return answer.reason


async def test_over_mutual_tls_nodes_know_each_other(authority: IssuedCertificate) -> None:
    async with (
        peer_node.served(Node(), identity_of(authority, TWO)) as address,
        reaching(address, ONE, identity_of(authority, ONE)) as peers,
    ):
        assert isinstance((await peers.hello(WITHIN_S))[TWO], NodeIntroduction)
        assert (await peers.report(ASK, WITHIN_S))[TWO] == peer_node.report_of(TWO)
        votes = await peers.propose(peer_node.proposal_of(), WITHIN_S)
        assert votes == {TWO: peer_node.vote_of(TWO, peer_node.proposal_of())}


async def test_who_cannot_show_a_certificate_that_counts_is_not_let_in(
    authority: IssuedCertificate,
) -> None:
    now = datetime.now(UTC)
    stranger = issuing.issue_authority(now)
    false = identity_of(stranger, ONE)
    old = identity_of(authority, ONE, now - timedelta(days=30), days=20)
    early = identity_of(authority, ONE, now + timedelta(days=30), days=20)
    node = Node()
    async with peer_node.served(node, identity_of(authority, TWO)) as address:
        for shown in (
            None,
            false,
            TlsIdentity(authority.certificate, false.certificate, false.key),
            old,
            early,
        ):
            assert "node-2" in await silence(address, ONE, shown)
        credentials = grpc.ssl_channel_credentials(authority.certificate)
        named = (("grpc.ssl_target_name_override", "node-2.ccn.internal"),)
        async with grpc.aio.secure_channel(address, credentials, options=named) as nameless:
            code, _ = await refusal(
                peer_pb2_grpc.PeerStub(nameless).Hello(pb.HelloRequest(), timeout=WITHIN_S)
            )
            assert code == Code.UNAVAILABLE
    assert node.asked == []


async def test_a_door_with_a_certificate_that_does_not_count_is_not_trusted(
    authority: IssuedCertificate,
) -> None:
    now = datetime.now(UTC)
    own = identity_of(authority, ONE)
    stranger = identity_of(issuing.issue_authority(now), TWO)
    for shown in (
        TlsIdentity(authority.certificate, stranger.certificate, stranger.key),
        identity_of(authority, THREE),
        identity_of(authority, TWO, now - timedelta(days=30), days=20),
    ):
        async with peer_node.served(Node(), shown) as address:
            assert "node-2: " in await silence(address, ONE, own)


async def test_a_node_speaks_for_nobody_but_itself(authority: IssuedCertificate) -> None:
    node = Node()
    async with (
        peer_node.served(node, identity_of(authority, TWO)) as address,
        reaching(address, ONE, identity_of(authority, THREE)) as peers,
    ):
        proposal = peer_node.proposal_of()
        for answers in (
            await peers.hello(WITHIN_S),
            await peers.report(ASK, WITHIN_S),
            await peers.propose(proposal, WITHIN_S),
            await peers.decide(peer_node.DECISION, WITHIN_S),
        ):
            answer = answers[TWO]
            assert answer == Silent(
                "node-2: the certificate shown is not that of node-1", unavailable=False
            )
        with pytest.raises(errors.PeerRefused, match="not that of node-1"):
            await peers.find_peer(TWO).fetch_blocks(1, WITHIN_S)
        with pytest.raises(errors.PeerRefused, match="not that of node-1"):
            await anext(
                peers.find_peer(TWO).forward(ForwardedRequest(ONE, INSTANCE, "Converse", b""), WITHIN_S)
            )
        with pytest.raises(errors.PeerRefused, match="not that of node-1"):
            await anext(peers.find_peer(TWO).stay())
    assert node.asked == []


async def test_who_takes_no_part_is_asked_nothing_and_told_nothing(authority: IssuedCertificate) -> None:
    """Not even who is there, though the certificate is one of the authority, for that very name."""
    node = Node(out={ONE}, frames=[b"secret"])
    async with (
        peer_node.served(node, identity_of(authority, TWO)) as address,
        reaching(address, ONE, identity_of(authority, ONE)) as peers,
    ):
        for answers in (
            await peers.hello(WITHIN_S),
            await peers.report(ASK, WITHIN_S),
            await peers.propose(peer_node.proposal_of(), WITHIN_S),
            await peers.decide(peer_node.DECISION, WITHIN_S),
        ):
            assert answers[TWO] == Silent(
                "node-2: node-1 takes no part in this cluster: it was removed", unavailable=False
            )
        peer_two = peers.find_peer(TWO)
        for asking in (
            peer_two.fetch_blocks(1, WITHIN_S),
            anext(peer_two.forward(ForwardedRequest(ONE, INSTANCE, "Converse", b""), WITHIN_S)),
            anext(peer_two.stay()),
        ):
            with pytest.raises(errors.PeerRefused, match="takes no part"):
                await asking
    assert node.asked == []
    assert node.sent == 0


async def test_what_a_node_has_under_way_ends_when_it_is_removed() -> None:
    node = Node(frames=[b"first"], pause_s=60)
    async with peer_node.served(node, look_s=0.05) as address, reaching(address, ONE, None) as peers:
        frames = peers.find_peer(TWO).forward(ForwardedRequest(ONE, INSTANCE, "Converse", b""), WITHIN_S)
        staying = peers.find_peer(TWO).stay()
        assert await anext(frames) == b"first"
        assert await anext(staying)
        node.out.add(ONE)
        with pytest.raises(errors.PeerRefused, match="takes no part"):
            await anext(staying)
        with pytest.raises(errors.CCNError, match="takes no part"):
            await anext(frames)
        await asyncio.wait_for(node.ended.wait(), WITHIN_S)


async def test_a_machine_that_is_called_like_a_node_is_not_that_node(authority: IssuedCertificate) -> None:
    issued = issuing.issue_certificate(
        authority, THREE, ("node-1", "node-1.example.org"), datetime.now(UTC)
    )
    shown = TlsIdentity(authority.certificate, issued.certificate, issued.key)
    async with peer_node.served(Node(), identity_of(authority, TWO)) as address:
        assert "not that of node-1" in await silence(address, ONE, shown)


async def test_the_generated_client_is_understood_too() -> None:
    async with bare(Node()) as channel:
        stub = peer_pb2_grpc.PeerStub(channel)
        assert (await stub.Hello(pb.HelloRequest(node=ONE), timeout=WITHIN_S)).node == TWO
        asked = pb.ReportRequest(node=ONE, height=1, term=3, previous=bytes(32))
        assert (await stub.Report(asked, timeout=WITHIN_S)).report.node == TWO


@pytest.mark.parametrize("method", ["Hello", "Report", "Propose", "Decide", "Blocks", "Forward", "Stay"])
@pytest.mark.parametrize("data", [b"", b"\xff" * 50, b"\x0a\x06Node 1"])
async def test_bytes_that_are_no_question_are_refused_and_the_door_stays_open(
    method: str, data: bytes
) -> None:
    node = Node()
    async with bare(node) as channel:
        path = f"/{methods.SERVICE}/{method}"
        if method in {"Forward", "Stay"}:
            call = channel.unary_stream(path)(data, timeout=WITHIN_S).read()
        else:
            call = channel.unary_unary(path)(data, timeout=WITHIN_S)
        code, words = await refusal(call)
        assert code == Code.INVALID_ARGUMENT, words
        await channel.unary_unary(methods.HELLO.path)(wire.HELLO.encode(Greeting(ONE)), timeout=WITHIN_S)
    assert node.asked == []


async def test_more_than_a_question_can_need_is_refused() -> None:
    async with bare(Node()) as channel:
        for method in (methods.REPORT, methods.DECIDE, methods.BLOCKS):
            call = channel.unary_unary(method.path)(bytes(limits.ASK + 1), timeout=WITHIN_S)
            assert await refusal(call) == (
                Code.INVALID_ARGUMENT,
                f"a {method.asked.name} of {limits.ASK + 1} bytes is over the limit of {limits.ASK}",
            )


async def test_more_than_any_message_can_need_is_refused_by_the_transport() -> None:
    async with bare(Node()) as channel:
        call = channel.unary_unary(methods.PROPOSE.path)(bytes(methods.ASKED_LIMIT + 1), timeout=WITHIN_S)
        assert (await refusal(call))[0] == Code.RESOURCE_EXHAUSTED


async def test_a_call_without_a_deadline_is_refused() -> None:
    async with bare(Node()) as channel:
        for method in (methods.HELLO, methods.REPORT):
            code, words = await refusal(channel.unary_unary(method.path)(b""))
            assert (code, words) == (Code.INVALID_ARGUMENT, "a call between nodes has a deadline")


async def test_a_node_that_takes_too_long_is_stopped_at_the_deadline() -> None:
    begun, done = asyncio.Event(), asyncio.Event()

    class Slow(Node):
        async def _take(self, asked: object) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                done.set()

    async with peer_node.served(Slow()) as address, reaching(address, ONE, None) as peers:
        async with asyncio.timeout(WITHIN_S):
            while not begun.is_set():  # a question may be late before it is asked
                assert isinstance((await peers.report(ASK, 0.2))[TWO], Silent)
            await done.wait()


async def test_one_peer_has_only_so_many_calls_and_the_others_still_have_theirs() -> None:
    gate = asyncio.Event()

    class Held(Node):
        async def _take(self, asked: object) -> None:
            self.asked.append(asked)
            await gate.wait()

    node = Held()
    async with peer_node.served(node) as address, reaching(address, ONE, None) as peers:
        calls = (peers.report(ASK, WITHIN_S) for _ in range(methods.REPORT.at_once + 3))
        crowd = [asyncio.ensure_future(call) for call in calls]
        async with reaching(address, THREE, None) as others, asyncio.timeout(WITHIN_S):
            other = asyncio.ensure_future(others.report(ReportRequest(THREE, 1, 3, ASK.previous), WITHIN_S))
            while len(node.asked) <= methods.REPORT.at_once or sum(each.done() for each in crowd) < 3:
                await asyncio.sleep(0.01)
            gate.set()
            assert await other == {TWO: node.report_}
        answers = [(await answer)[TWO] for answer in crowd]
        assert answers.count(node.report_) == methods.REPORT.at_once
        refused = [answer for answer in answers if isinstance(answer, Silent)]
        assert {answer.reason for answer in refused} == {"node-2: 2 calls of Report are under way already"}
        assert (await peers.report(ASK, WITHIN_S))[TWO] == node.report_


@pytest.mark.parametrize(
    ("failed", "unavailable", "words"),
    [
        (errors.DatabaseUnavailable("gone fishing"), True, "node-2: gone fishing"),
        (errors.StaleTerm("led by another"), True, "node-2: StaleTerm"),
        (errors.StoreBroken("row (hunter2)"), True, "node-2: StoreBroken"),
        (ValueError("hunter2"), True, "node-2: a defect, which the log of this node describes"),
        (errors.SigningRefused("/var/lib/hunter2"), True, "node-2: SigningRefused"),
        (errors.InputInvalid("no"), False, "node-2: no"),
    ],
)
async def test_a_node_that_fails_says_so_without_telling_its_secrets(
    failed: Exception, unavailable: bool, words: str
) -> None:
    with capture_logs() as logs:
        async with peer_node.served(Node(fails=failed)) as address, reaching(address, ONE, None) as peers:
            assert (await peers.report(ASK, WITHIN_S))[TWO] == Silent(words, unavailable=unavailable)
    said = [line for line in logs if line["event"].startswith("peer call")]
    assert len(said) == 1
    assert said[0]["log_level"] == ("info" if isinstance(failed, errors.CCNError) else "error")


async def test_what_is_forwarded_comes_back_in_order() -> None:
    node = Node(frames=[b"one", b"", bytes(limits.FRAME)])
    asked = ForwardedRequest(ONE, INSTANCE, "Converse", b"hello")
    async with peer_node.served(node) as address, reaching(address, ONE, None) as peers:
        assert [frame async for frame in peers.find_peer(TWO).forward(asked, WITHIN_S)] == node.frames
    assert node.asked == [asked]


async def test_a_host_is_not_read_faster_than_its_frames_are_taken() -> None:
    node = Node(frames=[bytes(100_000)] * 2_000)
    async with peer_node.served(node) as address, reaching(address, ONE, None) as peers:
        frames = peers.find_peer(TWO).forward(ForwardedRequest(ONE, INSTANCE, "Converse", b""), 30)
        await anext(frames)
        held = -1
        while held != node.sent:  # until it goes no further
            held = node.sent
            await asyncio.sleep(0.2)
        assert held < 1_000  # what gRPC and the kernel have room for, which is not the same everywhere
        for _ in range(held):
            await anext(frames)
        assert node.sent > held
        await frames.aclose()
        await asyncio.wait_for(node.ended.wait(), WITHIN_S)
        assert node.sent < 2_000


async def test_a_host_hears_when_nobody_waits_any_more() -> None:
    node = Node(frames=[b"first"], pause_s=30)
    async with peer_node.served(node) as address, reaching(address, ONE, None) as peers:
        frames = peers.find_peer(TWO).forward(ForwardedRequest(ONE, INSTANCE, "Converse", b""), 30)
        assert await anext(frames) == b"first"
        await frames.aclose()
        await asyncio.wait_for(node.ended.wait(), WITHIN_S)


async def test_a_host_that_says_nothing_until_the_deadline_is_stopped_and_the_outcome_unknown() -> None:
    node = Node(frames=[b"first"], pause_s=30)
    async with peer_node.served(node) as address, reaching(address, ONE, None) as peers:
        await peers.hello(WITHIN_S)
        frames = peers.find_peer(TWO).forward(ForwardedRequest(ONE, INSTANCE, "Converse", b""), 2)
        assert await anext(frames) == b"first"
        with pytest.raises(errors.OutcomeUnknown):
            await anext(frames)
        await asyncio.wait_for(node.ended.wait(), WITHIN_S)


@pytest.mark.parametrize("kind", failure.TRAVELS.values())
async def test_what_a_host_says_about_a_forwarded_request_arrives_as_it_was(
    kind: type[errors.CCNError],
) -> None:
    async with (
        peer_node.served(Node(fails=kind("what happened"))) as address,
        reaching(address, ONE, None) as peers,
    ):
        with pytest.raises(kind, match="what happened") as told:
            await anext(
                peers.find_peer(TWO).forward(ForwardedRequest(ONE, INSTANCE, "Converse", b""), WITHIN_S)
            )
        assert type(told.value) is kind


async def test_a_defect_of_the_host_leaves_the_outcome_unknown() -> None:
    node = Node(fails=ValueError("hunter2"))
    async with peer_node.served(node) as address, reaching(address, ONE, None) as peers:
        with capture_logs(), pytest.raises(errors.OutcomeUnknown, match="a defect"):
            await anext(
                peers.find_peer(TWO).forward(ForwardedRequest(ONE, INSTANCE, "Converse", b""), WITHIN_S)
            )


async def test_a_request_that_never_left_was_not_executed() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        async with reaching(f"127.0.0.1:{probe.getsockname()[1]}", ONE, None) as peers:
            with pytest.raises(errors.PeerUnavailable, match="no connection"):
                await anext(
                    peers.find_peer(TWO).forward(ForwardedRequest(ONE, INSTANCE, "Converse", b""), WITHIN_S)
                )


async def test_too_large_a_request_is_refused_and_too_large_a_frame_is_the_hosts_defect() -> None:
    node = Node(frames=[bytes(limits.FRAME + 1)])
    async with peer_node.served(node) as address, reaching(address, ONE, None) as peers:
        large = ForwardedRequest(ONE, INSTANCE, "Converse", bytes(limits.FRAME + limits.FORWARDED))
        with pytest.raises(errors.InputInvalid, match="over the limit"):
            await anext(peers.find_peer(TWO).forward(large, WITHIN_S))
        with capture_logs(), pytest.raises(errors.OutcomeUnknown, match="a defect"):
            await anext(
                peers.find_peer(TWO).forward(ForwardedRequest(ONE, INSTANCE, "Converse", b""), WITHIN_S)
            )


async def test_stopping_waits_for_calls_that_run_and_not_for_ever() -> None:
    node = Node(pause_s=0.2)
    stop, door = asyncio.Event(), PeerServer(node, None)
    address = f"127.0.0.1:{door.listen(settings.PeersSettings(port=0))}"
    serving = asyncio.create_task(door.serve(stop, WITHIN_S))
    async with reaching(address, ONE, None) as peers:
        running = asyncio.create_task(peers.report(ASK, WITHIN_S))
        while not node.asked:
            await asyncio.sleep(0.01)
        stop.set()
        assert (await running)[TWO] == peer_node.report_of(TWO)
        await asyncio.wait_for(serving, WITHIN_S)


async def test_without_certificates_the_door_is_on_loopback_only() -> None:
    for host in ("0.0.0.0", "10.0.0.7", "::"):
        with pytest.raises(errors.SettingsInvalid, match="CCN_PEERS_HOST"):
            PeerServer(Node(), None).listen(settings.PeersSettings(host=host, port=0))


@pytest.mark.parametrize(
    ("door", "found"),
    [
        (settings.PeersSettings(), "127.0.0.1:99"),
        (settings.PeersSettings(host="::1"), "[::1]:99"),
        (settings.PeersSettings(host="0.0.0.0", advertise="ccn-0.ccn:7702"), "ccn-0.ccn:7702"),
        (settings.PeersSettings(host="::", advertise="[2001:db8::7]:7702"), "[2001:db8::7]:7702"),
    ],
)
def test_others_are_told_where_they_find_the_door(door: settings.PeersSettings, found: str) -> None:
    assert peer.advertised_address(door, 99) == found


@pytest.mark.parametrize("advertised", ["ccn-0", "https://ccn-0:7702", "ccn-0:", ":7702", "a b:1"])
def test_where_nobody_could_find_the_door_is_refused(advertised: str) -> None:
    with pytest.raises(ValidationError):
        settings.PeersSettings(advertise=advertised)


async def test_a_port_that_is_taken_is_refused_by_name() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(errors.SettingsInvalid, match="CCN_PEERS_PORT"):
            PeerServer(Node(), None).listen(settings.PeersSettings(port=taken.getsockname()[1]))
