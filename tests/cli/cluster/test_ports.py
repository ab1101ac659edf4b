"""Ports of a local cluster: in a row, held, and listened on by the nodes alone."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ccn import errors
from ccn.cli.cluster import ports
from tests.support.ports import reserve_ports


@pytest.fixture
def base() -> Iterator[int]:
    """The first of six ports in a row that only this test gets."""
    with reserve_ports(6) as first:
        yield first


def listening(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((ports.HOST, port))
        made.listen()
    except OSError:
        made.close()
        raise
    return made


def test_nodes_get_pairs_in_a_row(base: int) -> None:
    with ports.hold_ports(3, base, 0) as held:
        assert held.node_ports == tuple(ports.NodePorts(base + 2 * i, base + 2 * i + 1) for i in range(3))
        assert held.node_ports[1].url == f"http://127.0.0.1:{base + 2}"
        assert held.node_ports[1].target == f"127.0.0.1:{base + 3}"


def test_a_wanted_port_that_is_taken_is_named(base: int) -> None:
    with (
        listening(base + 3),
        pytest.raises(errors.PortTaken, match=f"^port {base + 3} is in use; "),
        ports.hold_ports(3, base, 0),
    ):
        pass
    with ports.hold_ports(3, base, 0) as held:
        assert held.node_ports[0].http == base  # a failed attempt holds nothing


def test_of_two_clusters_that_start_at_once_one_gets_the_ports(base: int) -> None:
    with (
        ports.hold_ports(1, base, 0) as first,
        pytest.raises(errors.PortTaken, match="is in use"),
        ports.hold_ports(1, base, 0),
    ):
        pass
    assert first.node_ports[0].http == base
    with ports.hold_ports(1, None, base) as first, ports.hold_ports(1, None, base) as second:
        assert (first.notice, second.notice[:10]) == ("", f"port {base}")
        assert second.node_ports[0].http != base


def test_a_default_port_that_is_taken_gives_free_ports_and_a_notice(base: int) -> None:
    with ports.hold_ports(1, None, base) as held:
        assert (held.node_ports[0].http, held.notice) == (base, "")
    with listening(base + 1), ports.hold_ports(2, None, base) as held:
        assert held.notice == f"port {base + 1} is in use; taking free ports instead"
        chosen = {door for each in held.node_ports for door in (each.http, each.grpc)}
        assert len(chosen) == 4
        assert not chosen & {base, base + 1, base + 2, base + 3}


def test_a_held_port_can_be_listened_on_again_and_again_and_by_one_only() -> None:
    with ports.hold_ports(1, 0, 0) as held:
        port = held.node_ports[0].http
        for _ in range(3):
            with listening(port), pytest.raises(OSError, match="in use"):
                listening(port)
        with socket.socket() as asking:
            assert asking.connect_ex((ports.HOST, port)) != 0  # nobody listens between two lives of a node
