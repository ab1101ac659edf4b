"""Which nodes this node believes. The register in the database and the chain decide it.

    shown in etcd ──> signed by a node of the register, in its present life? ──> may it take part? ──> seen

The register is read again and again. While the database cannot be reached, the register as it was last read
stays valid.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from uuid import UUID

import structlog

from ccn import errors
from ccn.core.chain.rules import Rules
from ccn.core.identity import registration, revocation
from ccn.core.identity.registration import (
    NodeRegister,
    ProgramNotice,
    ShownRegistration,
)
from ccn.core.identity.revocation import PresentedCertificate
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Check
from ccn.node.pacing import every
from ccn.store.accounts import node_register
from ccn.store.connection.pool import Pool

REGISTER_READ_S = 2.0
"""How often the register is read. A node that was removed is refused everywhere after this time."""
AT_MOST_S = 0.2
"""Shortest time between two reads, however many unknown nodes etcd shows."""
LOGGED = 10
"""Most registrations that are not believed and that one check logs."""

log = structlog.get_logger(__name__)


class Trust:
    """The register as this node last read it, and which nodes it lets in."""

    def __init__(
        self,
        pool: Pool,
        check: Check,
        rules: Callable[[], Rules | None],
        register_read_s: float = REGISTER_READ_S,
    ) -> None:
        self.register: NodeRegister | None = None
        self.register_read_s = register_read_s
        self._pool, self._check, self._rules = pool, check, rules
        self._news = asyncio.Event()
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._doubts = frozenset[tuple[str, str]]()

    async def watch_register(self, stop: asyncio.Event) -> None:
        """Read the register at intervals until told to stop."""
        async for _ in every(self.register_read_s, stop):
            with contextlib.suppress(errors.Unavailable):
                await self.read_register()

    async def read_register(self) -> None:
        """Read the register. Calls at the same time share a read that began after all of them."""
        clock = asyncio.get_running_loop().time
        called_at = clock()
        async with self._looking:
            if self._looked_at > called_at:
                return
            await asyncio.sleep(self._looked_at + AT_MOST_S - called_at)
            began, register = clock(), await node_register.load_register(self._pool)
            self._looked_at = began
            if register != self.register:
                self.register = register
                self._news.set()
                self._news = asyncio.Event()

    async def wait_for_change(self) -> None:
        """Return when the register has changed, or after `register_read_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.register_read_s):
                await self._news.wait()

    async def enrol_node(self, node: NodeId, key: bytes) -> UUID:
        """Enrol this node in the register, and return the id of the life that begins."""
        life = await node_register.enrol_node(self._pool, node, key)
        await self.read_register()
        return life

    async def admit_node(self, node: NodeId, shown: PresentedCertificate | None) -> None:
        """Refuse a node that may not take part, or that shows a revoked certificate."""
        if self.register is None or (self.key_of(node) is None and node not in self.register.nodes):
            with contextlib.suppress(errors.Unavailable):  # it may have enrolled just now
                await self.read_register()
        if self.key_of(node) is None:
            why = "was removed" if node in self.known_register.nodes else "never enrolled"
            raise errors.PeerRefused(f"{node} takes no part in this cluster: it {why}")
        if shown is not None and not self.accepts_certificate(node, shown):
            serial = revocation.serial_to_pairs(shown.serial)
            raise errors.PeerRefused(f"the certificate {serial} of {node} was revoked")

    async def admit_gateway(self, gateway: NodeId, shown: PresentedCertificate | None) -> None:
        """Refuse a gateway whose certificate was revoked. It is registered nowhere: they come and go."""
        if self.register is None:
            with contextlib.suppress(errors.Unavailable):
                await self.read_register()
        if shown is not None and not self.accepts_certificate(gateway, shown):
            serial = revocation.serial_to_pairs(shown.serial)
            raise errors.PeerRefused(f"the certificate {serial} of {gateway} was revoked")

    def accepts_certificate(self, node: NodeId, shown: PresentedCertificate | None) -> bool:
        """Return whether a node is let in with its certificate. Without TLS there is none to check."""
        return shown is None or revocation.still_counts(node, shown, self.known_register.revoked)

    def key_of(self, node: NodeId) -> bytes | None:
        """Return the key with which a node may take part now, or None if it may not."""
        return registration.key_of(node, self.known_register, self._rules())

    @property
    def known_register(self) -> NodeRegister:
        """Return the register, or raise if it was never read."""
        if self.register is None:
            raise errors.Unavailable("the register of nodes has not been read yet")
        return self.register

    def believes(self, shown: ShownRegistration) -> bool:
        """Return whether a registration comes from a node of the register, in its present life."""
        return not registration.find_doubt(shown, self.known_register, self._check)

    async def sift_registrations(self, shown: Iterable[ShownRegistration]) -> list[ShownRegistration]:
        """Return the registrations in etcd that are believed.

        If one of them is new, read the register first, because the node may have enrolled just now.
        """
        listed = list(shown)
        if self.register is None or any(map(self._is_new, listed)):
            with contextlib.suppress(errors.Unavailable):
                await self.read_register()
        doubts = {one: registration.find_doubt(one, self.known_register, self._check) for one in listed}
        self._log_doubts(frozenset((one.name, doubt) for one, doubt in doubts.items() if doubt))
        return [one for one, doubt in doubts.items() if not doubt]

    def list_programs(self, believed: Iterable[ShownRegistration]) -> dict[NodeId, ProgramNotice]:
        """Return what nodes that are believed say of their programs."""
        found = [registration.find_program(one, self._check) for one in believed]
        return {notice.node: notice for notice in found if notice is not None}

    @property
    def protocol_in_force(self) -> int | None:
        """Return the protocol of the rules, or None while this node knows no rules."""
        rules = self._rules()
        return None if rules is None else rules.parameters.protocol

    def _is_new(self, shown: ShownRegistration) -> bool:
        enrolled = self.known_register.nodes.get(shown.said.statement.node)
        return enrolled is None or enrolled.life != shown.said.statement.life

    def _log_doubts(self, doubts: frozenset[tuple[str, str]]) -> None:
        """Log each doubt once, and only some at a time.

        A client that can write to etcd can make up any number of registrations.
        """
        for name, doubt in sorted(doubts - self._doubts)[:LOGGED]:
            log.warning("registration not believed", name=name[:100], reason=doubt)
        self._doubts = doubts
