"""Whom this node believes: what the register in the database and the chain say, read again all the time.

    shown in etcd ──> signed by a node of the register, in its present life? ──> may it take part? ──> seen

A database that cannot be reached changes nothing: what was read last goes on to count.
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
from ccn.core.identity.registration import NodeRegister, Registration, ShownRegistration
from ccn.core.identity.revocation import PresentedCertificate
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Check
from ccn.node.pacing import every
from ccn.store.accounts import node_register
from ccn.store.connection.pool import Pool

LOOK_S = 2.0
"""How often the register is read: who was removed is let in nowhere after this."""
AT_MOST_S = 0.2
"""How often at most, whoever is shown whom the register does not know."""
LOGGED = 10
"""Registrations that are not believed, in the log at once."""

log = structlog.get_logger(__name__)


class Trust:
    """The register as this node last read it, and what follows from it."""

    def __init__(
        self, pool: Pool, check: Check, rules: Callable[[], Rules | None], look_s: float = LOOK_S
    ) -> None:
        self.register: NodeRegister | None = None
        self.look_s = look_s
        self._pool, self._check, self._rules = pool, check, rules
        self._news = asyncio.Event()
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._doubts = frozenset[tuple[str, str]]()

    async def watch_register(self, stop: asyncio.Event) -> None:
        """Read the register again and again, until told to stop."""
        async for _ in every(self.look_s, stop):
            with contextlib.suppress(errors.Unavailable):
                await self.read_register()

    async def read_register(self) -> None:
        """Read the register as it stands after this was called; whoever calls meanwhile shares that."""
        clock = asyncio.get_running_loop().time
        asked = clock()
        async with self._looking:
            if self._looked_at > asked:
                return
            await asyncio.sleep(self._looked_at + AT_MOST_S - asked)
            began, read = clock(), await node_register.load_register(self._pool)
            self._looked_at = began
            if read != self.register:
                self.register = read
                self._news.set()
                self._news = asyncio.Event()

    async def wait_for_change(self) -> None:
        """Return when the register is another one, or after a while."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), self.look_s)

    async def enrol_node(self, node: NodeId, key: bytes) -> UUID:
        """Begin a life of this node."""
        life = await node_register.enrol_node(self._pool, node, key)
        await self.read_register()
        return life

    async def admit_node(self, node: NodeId, shown: PresentedCertificate | None) -> None:
        """Refuse whoever may take no part, or shows a certificate that counts no more."""
        if self.register is None or (self.key_of(node) is None and node not in self.register.nodes):
            with contextlib.suppress(errors.Unavailable):  # it may have enrolled just now
                await self.read_register()
        if self.key_of(node) is None:
            how = "was removed" if node in self.known_register.nodes else "never enrolled"
            raise errors.PeerRefused(f"{node} takes no part in this cluster: it {how}")
        if shown is not None and not self.accepts_certificate(node, shown):
            serial = revocation.serial_to_pairs(shown.serial)
            raise errors.PeerRefused(f"the certificate {serial} of {node} was revoked")

    def accepts_certificate(self, node: NodeId, shown: PresentedCertificate | None) -> bool:
        """Whether a node is let in with a certificate; without TLS nobody has any."""
        return shown is None or revocation.still_counts(node, shown, self.known_register.revoked)

    def key_of(self, node: NodeId) -> bytes | None:
        """The key under which a node may take part now; None if it may not."""
        return registration.key_of(node, self.known_register, self._rules())

    @property
    def known_register(self) -> NodeRegister:
        """The register, which is read before anybody is asked."""
        if self.register is None:
            raise errors.Unavailable("the register of nodes has not been read yet")
        return self.register

    def believes(self, shown: ShownRegistration) -> bool:
        """Whether a node of the register says this now."""
        return not registration.find_doubt(shown, self.known_register, self._check)

    async def sift_registrations(self, shown: Iterable[ShownRegistration]) -> list[Registration]:
        """What is believed of what etcd shows; the register is read first if it may know more."""
        listed = list(shown)
        if self.register is None or any(self._is_new(each) for each in listed):
            with contextlib.suppress(errors.Unavailable):
                await self.read_register()
        doubts = {each: registration.find_doubt(each, self.known_register, self._check) for each in listed}
        self._log_doubts(frozenset((each.name, doubt) for each, doubt in doubts.items() if doubt))
        return [each.said.statement for each, doubt in doubts.items() if not doubt]

    def _is_new(self, shown: ShownRegistration) -> bool:
        enrolled = self.known_register.nodes.get(shown.said.statement.node)
        return enrolled is None or enrolled.life != shown.said.statement.life

    def _log_doubts(self, doubts: frozenset[tuple[str, str]]) -> None:
        """Once for each, and of a crowd only some: whoever can write to etcd can make up any number."""
        for name, doubt in sorted(doubts - self._doubts)[:LOGGED]:
            log.warning("registration not believed", name=name[:100], reason=doubt)
        self._doubts = doubts
