"""Every door with a certificate: TLS 1.3 and nothing else, renewed under load, and what each party says."""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
import pytest
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from ccn import continuity, errors, metrics
from ccn.certificates import inspection, issuing, trust
from ccn.certificates.issuing import IssuedCertificate
from ccn.cli.chat.session import ChatSession
from ccn.cli.reach import remote
from ccn.cli.reach.target import HttpTarget
from ccn.peers import client as peers
from ccn.peers.client import Silent
from ccn.peers.exchange import NodeIntroduction
from tests.support.gateway import tls_doors
from tests.support.gateway.tls_doors import Pair, TlsDoors
from tests.support.peers.peer_node import ONE, TWO

LINKS = ("http", "grpc", "peers")
WITHIN_S = 30.0
EXCHANGES = 10


@pytest.fixture(scope="module")
def authority() -> IssuedCertificate:
    return issuing.issue_authority(datetime.now(UTC))


@pytest.fixture
def pair(tmp_path: Path, authority: IssuedCertificate) -> Pair:
    return Pair(tmp_path, authority)


async def openssl(port: int, folder: Path, *options: str) -> tuple[bool, str]:
    """Whether OpenSSL's client, which knows all old ways, and a door agreed on something; and its words."""
    shown = ("-cert", str(folder / "client.pem"), "-key", str(folder / "client.key"))
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", str(folder / "ca.pem")),
        *("-verify_return_error", *shown, *options),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), WITHIN_S)
    words = said.decode(errors="replace")
    return "Cipher is (NONE)" not in words and "New, " in words, words


async def test_every_door_agrees_on_tls_1_3_and_on_nothing_older(pair: Pair) -> None:
    pair.put()
    shown = tls_doors.client_of(pair)
    pair.write("client.pem", shown.certificate)
    pair.write("client.key", shown.key)
    old = ("-cipher", "ALL:eNULL:@SECLEVEL=0")  # whatever was ever good enough for somebody
    async with tls_doors.open_doors(pair) as doors:
        for link in LINKS:
            alpn = ("-alpn", "http/1.1" if link == "http" else "h2")
            for version in ("-tls1", "-tls1_1", "-tls1_2", "-no_tls1_3"):
                agreed, words = await openssl(doors.ports[link], pair.folder, version, *old, *alpn)
                assert not agreed, (link, version, words)
            agreed, words = await openssl(doors.ports[link], pair.folder, *old, *alpn)
            assert agreed, (link, words)
            assert "New, TLSv1.3, Cipher is TLS_" in words, link
            assert "Compression: NONE" in words
            assert "Verify return code: 0 (ok)" in words
            assert "Early data was not sent" in words
            assert "Max Early Data: 0" in words or "Max Early Data" not in words


async def say_http(doors: TlsDoors, pair: Pair, host: str) -> str:
    at = HttpTarget((f"https://{host}:{doors.ports['http']}",), "", "a test", pair.ca)
    try:
        return str(await asyncio.to_thread(remote.get, at, "/status", WITHIN_S))
    except errors.Unavailable as refused:
        return str(refused)


async def say_chat(doors: TlsDoors, pair: Pair, host: str) -> str:
    session = ChatSession([f"https://{host}:{doors.ports['http']}"], "ccn_x", lambda _: None, ca=pair.ca)
    try:
        await session.learn_nodes()
    except errors.Unavailable as refused:
        return str(refused)
    except KeyError:  # it was let in, and this door tells of no nodes
        return "{'node': 'node-2'}"
    raise AssertionError("nobody answered")


async def say_grpc(doors: TlsDoors, pair: Pair, host: str) -> str:
    try:
        target = f"{host}:{doors.ports['grpc']}"
        async with continuity.connect(target, "ccn_x", ca=pair.ca, patience_s=0.1) as cluster:
            await cluster.begin("ada")
    except errors.Unavailable as refused:
        return str(refused)
    except errors.InputInvalid:  # the bare door has no such service: it was reached
        return "{'node': 'node-2'}"
    raise AssertionError("nobody answered")


async def say_peers(doors: TlsDoors, pair: Pair, host: str) -> str:
    async with peers.open_client(ONE, tls_doors.client_of(pair)) as calling:
        await calling.set_addresses({TWO: f"{host}:{doors.ports['peers']}"})
        answer = (await calling.hello(WITHIN_S))[TWO]
    return answer.reason if isinstance(answer, Silent) else "{'node': 'node-2'}"


CLIENTS: dict[str, Callable[[TlsDoors, Pair, str], Awaitable[str]]] = {
    "http": say_http,
    "chat": say_chat,
    "grpc": say_grpc,
}


async def test_clients_say_whether_the_authority_the_name_or_the_date_is_wrong(
    pair: Pair, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    pair.put()
    async with tls_doors.open_doors(pair) as doors:
        for name, ask in CLIENTS.items():
            assert await ask(doors, pair, "localhost") == "{'node': 'node-2'}", name
        assert await say_peers(doors, pair, "localhost") == "{'node': 'node-2'}"
        stranger = Pair(tmp_path / "stranger", issuing.issue_authority(now))
        stranger.folder.mkdir()
        stranger.put()
        for name, ask in CLIENTS.items():
            words = await ask(doors, stranger, "localhost")
            assert "no authority that is trusted here issued its certificate" in words, (name, words)
    for wrong, meaning in (
        ({"names": ("ccn.example.org", "node-2.ccn.internal")}, "is for other names than this"),
        ({"now": now - timedelta(days=9)}, "its certificate has ended"),
        ({"now": now + timedelta(days=9)}, "its certificate is not valid yet"),
    ):
        pair.put(**wrong)
        async with tls_doors.open_doors(pair, wrong.get("now", now) + timedelta(hours=1)) as doors:  # type: ignore[operator]
            for name, ask in CLIENTS.items():
                words = await ask(doors, pair, "localhost")
                assert meaning in words, (name, words)
            # Nodes do not look at hosts, but at the name of the node, which is right in the first case.
            answer = await say_peers(doors, pair, "localhost")
            assert answer.startswith("{" if "names" in wrong else "node-2: "), answer


async def test_whoever_expects_tls_where_there_is_none_is_told_so() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        at = HttpTarget((f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}",), "", "a test")
        with pytest.raises(errors.Unavailable, match="it does not speak TLS: write http://"):
            await asyncio.to_thread(remote.get, at, "/status", WITHIN_S)


async def silent(port: int) -> bool:
    """Connect, say nothing, and wait until the door ends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with suppress(ConnectionError):
        assert not await asyncio.wait_for(reader.read(), WITHIN_S)
    writer.close()
    return True


def test_whoever_begins_no_handshake_is_cut_off_and_keeps_nobody_out(pair: Pair) -> None:
    pair.put()

    async def crowd() -> None:
        async with tls_doors.open_doors(pair, head_s=0.5, connection_limit=20) as doors:
            strangers = [asyncio.create_task(silent(doors.ports["http"])) for _ in range(60)]
            await ask_http(doors, pair, set())
            await asyncio.gather(*strangers)
            await ask_http(doors, pair, set())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(crowd())


async def test_answers_over_tls_demand_tls_and_others_do_not(pair: Pair) -> None:
    pair.put()
    async with tls_doors.open_doors(pair) as doors:
        reader, writer = await asyncio.open_connection(
            "localhost", doors.ports["http"], ssl=trust.make_client_context(pair.ca)
        )
        for path, status in (("/status", b"200"), ("/nowhere", b"404")):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WITHIN_S)
            assert head.startswith(b"HTTP/1.1 " + status)
            assert b"strict-transport-security: max-age=31536000" in head.lower()
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            await reader.readexactly(length)
        writer.close()


def metric(name: str, link: str) -> float:
    page = metrics.series.render_page("")[0].decode()
    return next(
        float(line.split()[-1]) for line in page.splitlines() if line.startswith(f'{name}{{link="{link}"}}')
    )


async def all_show(name: str, value: float) -> None:
    async with asyncio.timeout(WITHIN_S):
        while {metric(name, link) for link in LINKS} != {value}:
            await asyncio.sleep(0.01)


async def test_a_bad_pair_keeps_the_old_one_at_every_door_and_shows_as_a_metric(pair: Pair) -> None:
    pair.put()
    async with tls_doors.open_doors(pair) as doors:
        serials = set[str]()
        await ask_http(doors, pair, serials)
        for name, text in (("door.key", pair.authority.key), ("door.pem", b"-----BEGIN nothing")):
            pair.write(name, text)
            await all_show("ccn_certificate_refused", 1)
            for ask in (ask_http, ask_grpc, ask_peers):
                await ask(doors, pair, serials)
            assert len(serials) == 1
            pair.put()
            await all_show("ccn_certificate_refused", 0)
            await ask_http(doors, pair, later := set[str]())
            assert not later & serials
            serials = later
        assert all(0.9 < metric("ccn_certificate_days_left", link) < 1 for link in LINKS)


async def test_a_door_that_wants_certificates_of_clients_lets_nobody_in_without_one(pair: Pair) -> None:
    pair.put()
    shown = tls_doors.client_of(pair)
    pair.write("client.pem", shown.certificate + shown.key)
    async with tls_doors.open_doors(pair, mutual=True) as doors:
        words = await say_http(doors, pair, "localhost")
        assert "want a certificate of" in words
        with pytest.raises(grpc.aio.AioRpcError):
            await ask_grpc(doors, pair, set())
        url = f"https://localhost:{doors.ports['http']}/status"
        context = ssl.create_default_context(cafile=pair.ca)
        context.load_cert_chain(pair.folder / "client.pem")
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        assert (await asyncio.to_thread(opener.open, url)).status == 200
        credentials = grpc.ssl_channel_credentials(shown.ca, shown.key, shown.certificate)
        async with grpc.aio.secure_channel(f"localhost:{doors.ports['grpc']}", credentials) as channel:
            await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=WITHIN_S
            )


async def ask_http(doors: TlsDoors, pair: Pair, seen: set[str]) -> None:
    """One request over a connection of its own."""
    reader, writer = await asyncio.open_connection(
        "localhost", doors.ports["http"], ssl=trust.make_client_context(pair.ca)
    )
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    seen.add(inspection.summarise_certificate(ssl.DER_cert_to_PEM_cert(shown).encode()).serial)
    writer.write(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()


async def all_serve(doors: TlsDoors, serial: str) -> bool:
    """Whether every door shows this certificate to whoever connects now."""
    for port in doors.ports.values():
        shown = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port), timeout=WITHIN_S)
        if inspection.summarise_certificate(shown.encode()).serial != serial:
            return False
    return True


async def ask_grpc(doors: TlsDoors, pair: Pair, seen: set[str]) -> None:
    del seen
    credentials = grpc.ssl_channel_credentials(pair.authority.certificate)
    own = (("grpc.use_local_subchannel_pool", 1),)  # else channels would share a connection
    async with grpc.aio.secure_channel(f"localhost:{doors.ports['grpc']}", credentials, own) as channel:
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=WITHIN_S)


async def ask_peers(doors: TlsDoors, pair: Pair, seen: set[str]) -> None:
    del seen
    async with peers.open_client(ONE, tls_doors.client_of(pair)) as calling:
        await calling.set_addresses({TWO: f"127.0.0.1:{doors.ports['peers']}"})
        assert isinstance((await calling.hello(WITHIN_S))[TWO], NodeIntroduction)


async def stream_http(doors: TlsDoors, pair: Pair) -> AsyncIterator[object]:
    reader, writer = await asyncio.open_connection(
        "localhost", doors.ports["http"], ssl=trust.make_client_context(pair.ca)
    )
    writer.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    while piece := await reader.read(1_024):
        yield piece
    writer.close()


async def stream_grpc(doors: TlsDoors, pair: Pair) -> AsyncIterator[object]:
    credentials = grpc.ssl_channel_credentials(pair.authority.certificate)
    async with grpc.aio.secure_channel(f"localhost:{doors.ports['grpc']}", credentials) as channel:
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        async for status in watching:
            yield status


async def stream_peers(doors: TlsDoors, pair: Pair) -> AsyncIterator[object]:
    async with peers.open_client(ONE, tls_doors.client_of(pair)) as calling:
        await calling.set_addresses({TWO: f"127.0.0.1:{doors.ports['peers']}"})
        async for introduction in calling.find_peer(TWO).stay():
            yield introduction


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_pairs_are_exchanged_under_load_and_nobody_is_refused(
    pair: Pair, make_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """A node has the second loop, whose TLS is its own."""
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(exchange_under_load(pair))


async def exchange_under_load(pair: Pair) -> None:
    pair.put()
    seen, answered = set[str](), dict.fromkeys(LINKS, 0)
    async with tls_doors.open_doors(pair) as doors:
        over = asyncio.Event()

        async def keep_asking(
            link: str, ask: Callable[[TlsDoors, Pair, set[str]], Awaitable[None]]
        ) -> None:
            while not over.is_set():
                await ask(doors, pair, seen)
                answered[link] += 1

        async def keep_reading(pieces: AsyncIterator[object]) -> None:
            with suppress(grpc.aio.AioRpcError, errors.PeerUnavailable):  # how streams end with the door
                async for _ in pieces:
                    pass

        streams = [
            asyncio.create_task(keep_reading(stream(doors, pair)))
            for stream in (stream_http, stream_grpc, stream_peers)
        ]
        asking = [
            asyncio.create_task(keep_asking(link, ask))
            for link, ask in zip(LINKS, (ask_http, ask_grpc, ask_peers), strict=True)
            for _ in range(2)
        ]
        for _ in range(EXCHANGES):
            serial = inspection.summarise_certificate(pair.put().certificate).serial
            async with asyncio.timeout(WITHIN_S):
                while not any(task.done() for task in asking) and not (
                    serial in seen and await all_serve(doors, serial)
                ):
                    await asyncio.sleep(0.005)
        over.set()
        await asyncio.gather(*asking)  # whatever was refused would be raised here
        assert len(seen) >= EXCHANGES
        assert min(answered.values()) >= EXCHANGES
        assert not any(task.done() for task in streams)
    await asyncio.wait_for(asyncio.gather(*streams, return_exceptions=True), WITHIN_S)
