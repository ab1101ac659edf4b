"""The nodes that `rounds` measures: the real voting, door, disk and database of a node, a process each.

Each node of the benchmark has a second door of nothing but gRPC, which answers with as many bytes as it is
asked for: the floor runs between the same processes as the rounds. Doors close when standard input does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
import structlog
import uvloop

import ccn
from ccn import errors, settings
from ccn.core.chain.block import Tip
from ccn.core.chain.report import Report
from ccn.core.chain.roster import Roster
from ccn.core.ids import NodeId
from ccn.core.ledger import note
from ccn.core.ledger.signed import Signed
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.readback import ShownBlock
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.core.rounds.signer import SignerState
from ccn.gateway.grpc import peer
from ccn.node.rounds.voting import NodeIdentity, Voting
from ccn.node.signing import memory as signing_memory
from ccn.node.signing import signing_key
from ccn.peers.exchange import (
    CommitNotice,
    ForwardedRequest,
    GatewayQuestion,
    NodeIntroduction,
    ReportRequest,
)
from ccn.store.character import vectors
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.rounds import blocks as stored_blocks

BARE = "/bare/Echo"
MESSAGES = (("grpc.max_receive_message_length", 64 << 20), ("grpc.so_reuseport", 0))


@asynccontextmanager
async def standing(
    node: NodeId, folder: Path, database: settings.DatabaseSettings
) -> AsyncIterator[tuple[Voting, Pool]]:
    """One node's part in rounds, as a node sets it up."""
    with signing_memory.open_right(folder) as right:
        async with pool.open(database, node) as connections:
            genesis = await stored_blocks.load_tip(connections, 0)
            if genesis is None:
                raise errors.NotFound("the chain was not founded")
            memory = right.open_memory(SignerState(0, genesis.hash))
            identity = NodeIdentity(node, right.key.public, right.key.sign, signing_key.check_signature)
            yield _voting(identity, connections, memory, genesis), connections


def _voting(
    identity: NodeIdentity, connections: Pool, memory: signing_memory.SignerMemory, tip: Tip
) -> Voting:
    async def rosters(tip: Tip) -> Sequence[Roster]:
        return await vectors.load_rosters(connections, identity.node, tip)

    return Voting(identity, connections, memory, tip, rosters, lambda *_: True, now_us)


def quiet() -> None:
    """What goes well is not printed: a line takes as long as a step of a round."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def now_us() -> int:
    """This machine's clock."""
    return time.time_ns() // 1_000


class Answering:
    """What a node answers its peers."""

    def __init__(self, node: NodeId, voting: Voting) -> None:
        self._node, self._voting = node, voting
        self._frames: Sequence[bytes] = ()

    async def admit(self, node: NodeId, shown: object) -> None:
        """Whoever asks."""

    async def identify(self) -> NodeIntroduction:
        """Not asked here."""
        return NodeIntroduction(
            self._node, bytes(32), ccn.__version__, self._voting.tip.height, self._voting.tip.hash
        )

    async def report(self, ask: ReportRequest) -> Signed[Report] | Refusal:
        """Its part of the round."""
        return await self._voting.sign_report(ask)

    async def vote_on(self, proposed: Signed[Proposal]) -> Signed[Vote] | Refusal:
        """Its vote."""
        return await self._voting.vote_on(proposed)

    async def confirm_block(self, decision: CommitNotice) -> note.Signature | Refusal:
        """Its cosignature."""
        await self._voting.catch_up()
        line = self._voting.cosignature
        return line or Refusal(Reason.TIP, f"block {decision.height} is not there")

    async def load_blocks(self, first: int, count: int) -> tuple[Sequence[ShownBlock], int]:
        """Not asked here."""
        return [], first + count

    async def forward(self, request: ForwardedRequest) -> AsyncGenerator[bytes]:
        """Not asked here."""
        for frame in self._frames:
            yield frame
        raise errors.NotFound(f"nobody hosts {request.instance}")

    async def admit_gateway(self, gateway: NodeId, shown: object) -> None:
        """None comes here."""

    async def serve(self, question: GatewayQuestion) -> AsyncGenerator[bytes]:
        """Not asked here."""
        for frame in self._frames:
            yield frame
        raise errors.NotFound(f"nobody answers to {question.method}")


async def echo(data: bytes, _: Any) -> bytes:
    """As many bytes as the first four of the question say."""
    return bytes(int.from_bytes(data[:4], "big"))


async def _serve(node: NodeId, folder: Path, url: str) -> None:
    async with standing(node, folder, settings.DatabaseSettings.from_url(url, pool_size=4)) as (voting, _):
        door = peer.PeerServer(Answering(node, voting), None)
        port = door.listen(settings.PeersSettings(port=0))
        bare = grpc.aio.server(options=MESSAGES)
        handler = grpc.unary_unary_rpc_method_handler(echo)
        bare.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare", {"Echo": handler}),))
        bare_port = bare.add_insecure_port("127.0.0.1:0")
        await bare.start()
        stop = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
        sys.stdout.write(json.dumps({"door": port, "bare": bare_port}) + "\n")
        sys.stdout.flush()
        await door.serve(stop, 1.0)
        await bare.stop(0)


if __name__ == "__main__":
    quiet()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(NodeId(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
