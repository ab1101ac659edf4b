"""What a node knows and keeps: the chain as far as it believes it, what it signed, and its leaves.

It believes the database nothing. Every block is read back by the rules, cosigned, and remembered; a chain
that is not the one this node stands for stops its signing until the right one is shown again. What a node
answers when it is asked is in `node`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ccn import errors
from ccn.core.ids import NodeId
from ccn.core.ledger import commitment
from ccn.core.rounds import signer
from ccn.core.rounds.readback import ShownBlock
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.core.rounds.signer import SignerState
from tests.cluster.simulation.loop import MS
from tests.cluster.simulation.nodes.machine import Machine
from tests.cluster.simulation.services.database import Status

if TYPE_CHECKING:
    from tests.cluster.simulation.world import World

_READ_EVERY_US = 2000 * MS
_WRITE_EVERY_US = 2500 * MS


class Reader(Machine):
    """The attributes that `start` sets are its memory and die with it; the disk does not."""

    def __init__(self, world: World, name: NodeId) -> None:
        super().__init__(world.loop)
        self.world, self.name, self.conduct = world, name, world.conduct
        self.sign = world.keys.pair(name).sign
        self.alarms: list[Refusal] = []

    def start(self) -> None:
        super().start()
        genesis = self.world.genesis
        self.tip = genesis
        self.signer = SignerState(0, genesis.hash)
        if self.disk.content:
            self.signer = signer.parse_state(self.disk.content)
        self.alarm: Refusal | None = None
        self.reading = False
        self.own: dict[int, bytes] = {}
        self.stored: tuple[bytes, ...] = ()
        self.spawn(self._read())
        self.spawn(self._write())

    async def _read(self) -> None:
        """Follow the chain, as far as it can be believed."""
        while True:
            with contextlib.suppress(errors.Unavailable, errors.OutcomeUnknown):
                await self.follow()
            await self.loop.sleep(self.loop.random.randrange(_READ_EVERY_US))

    async def follow(self) -> None:
        """Read back and cosign what is new; stop signing while the chain is not the one that was signed."""
        if self.reading:
            return  # an answer from before what another reading found would look like a step back
        self.reading = True
        try:
            self.alarm = await self._catch_up(await self.ask_status())
            self.alarms += [self.alarm] if self.alarm else []
        finally:
            self.reading = False

    async def _catch_up(self, status: Status) -> Refusal | None:
        if status.height < max(self.tip.height, self.signer.height):
            return Refusal(Reason.BACK, f"the database shows {status.height} blocks")
        refusal = None
        if self.tip.height and status.block != self.tip.hash:
            refusal = await self._sideways(self.tip.height)
        while refusal is None and self.tip.height < status.height:
            shown = await self.ask_shown(self.tip.height + 1)
            if shown is None:
                break
            refusal = await self._confirm(shown)
        return refusal

    async def _confirm(self, shown: ShownBlock) -> Refusal | None:
        before = self.tip
        after = self.conduct.confirm(shown, before, self.name, self.own, self.world.check)
        if isinstance(after, Refusal):
            return after
        if shown.header.height >= self.signer.height:
            state = self.conduct.cosign(self.signer, shown.header)
            if isinstance(state, Refusal):
                return state
            self.signer = state
            await self.conduct.remember_cosigned(self.disk, state)
            self.world.cosign(self, shown, before, after)
        self.tip = after
        return None

    async def _sideways(self, height: int) -> Refusal | None:
        """Another block where the tip was: no honest node goes along."""
        shown = await self.ask_shown(height)
        if shown is None:
            return None
        state = self.conduct.cosign(self.signer, shown.header)
        if isinstance(state, Refusal):
            return state
        if state != self.signer:
            self.signer, self.tip = state, self.world.genesis
        return None

    async def _write(self) -> None:
        """Serve: one leaf after the other, acknowledged when the database has it."""
        known = False
        while True:
            await self.loop.sleep(self.loop.random.randrange(_WRITE_EVERY_US))
            try:
                if not known:
                    self.stored, known = await self._ask_leaves(), True
                elif self.world.serving:
                    known = False  # until the answer is here
                    await self._append(len(self.stored) + 1)
                    known = True
            except (errors.Unavailable, errors.OutcomeUnknown, errors.Conflict):
                continue

    async def _append(self, number: int) -> None:
        database, leaf = self.world.database, commitment.leaf_hash(self.loop.random.randbytes(8))
        await self.world.network.call(self.name, lambda: database.append(self.name, number, leaf))
        self.stored, self.own[number] = (*self.stored, leaf), leaf
        self.world.acknowledged[self.name, number] = leaf

    async def _ask_leaves(self) -> tuple[bytes, ...]:
        return await self.world.network.call(self.name, lambda: self.world.database.leaves(self.name))

    async def ask_status(self) -> Status:
        return await self.world.network.call(
            self.name, lambda: self.world.database.status(self.name, self.tip.height)
        )

    async def ask_shown(self, height: int) -> ShownBlock | None:
        return await self.world.network.call(
            self.name, lambda: self.world.database.shown(self.name, height)
        )
