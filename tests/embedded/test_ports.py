"""Free ports, and others when somebody else was faster."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from ccn import errors
from ccn.embedded import ports


class Service:
    """Finds its ports taken as often as it was told, and keeps which it was given."""

    def __init__(self, taken: int, wrong: type[errors.CCNError] = errors.PortTaken) -> None:
        self.given = list[tuple[int, ...]]()
        self.closed = 0
        self._taken, self._wrong = taken, wrong

    @asynccontextmanager
    async def serve(self, *given: int) -> AsyncIterator[tuple[int, ...]]:
        self.given.append(given)
        if len(self.given) <= self._taken:
            raise self._wrong("taken")
        try:
            yield given
        finally:
            self.closed += 1


async def test_others_are_tried_while_the_ports_are_taken() -> None:
    service = Service(taken=3)
    async with AsyncExitStack() as stack:
        opened = await ports.serve_on_free_ports(stack, 2, service.serve)
        assert opened == service.given[3]
        assert service.closed == 0
    assert service.closed == 1
    assert [len(set(given)) for given in service.given] == [2] * 4


async def test_it_is_given_up_after_as_many_attempts_as_are_allowed() -> None:
    service = Service(taken=100)
    async with AsyncExitStack() as stack:
        with pytest.raises(errors.PortTaken):
            await ports.serve_on_free_ports(stack, 1, service.serve)
    assert len(service.given) == ports.ATTEMPTS


async def test_any_other_failure_is_not_tried_again() -> None:
    service = Service(taken=1, wrong=errors.DiskFull)
    async with AsyncExitStack() as stack:
        with pytest.raises(errors.DiskFull):
            await ports.serve_on_free_ports(stack, 1, service.serve)
    assert len(service.given) == 1


@pytest.mark.parametrize("count", [0, 1, 30])
def test_free_ports_are_all_different_and_can_be_bound(count: int) -> None:
    found = ports.find_free_ports(count)
    assert len(set(found)) == count
    with contextlib.ExitStack() as stack:
        for port in found:
            stack.enter_context(socket.create_server((ports.HOST, port)))


def test_a_port_is_taken_while_somebody_listens_there_and_free_afterwards() -> None:
    with socket.create_server((ports.HOST, 0)) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(errors.PortTaken, match=f"port {port} of 127.0.0.1 cannot be used"):
            ports.check_port_free(port)
        with socket.create_connection((ports.HOST, port)), listening.accept()[0]:
            pass
    ports.check_port_free(port)
