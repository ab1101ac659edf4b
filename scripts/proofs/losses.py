"""Promotes a standby that was held back: each node that acknowledged what it lacks stops and says so.

The standby is made asynchronous on purpose, and the process that sends it the log is stopped before the
primary is killed. What a node must notice is known from outside: is its newest acknowledged leaf there?
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass

from ccn import errors, settings
from ccn.embedded.postgres.pair import pair, server_query
from ccn.embedded.postgres.pair.members import EmbeddedPair
from ccn.store.connection import pool
from scripts.proofs import failover, speakers
from scripts.proofs.outcome import ProofOutcome
from scripts.proofs.speakers import SpokenWords, TalkingNode

LONGEST_HELD_S = 0.3
_LIMIT_S = 60.0
_NOTICE_S = 10.0
_SENDER = "SELECT pid FROM pg_stat_replication"


@dataclass(slots=True)
class _LossTally:
    lost: int = 0
    kept: int = 0
    undetected: int = 0
    wrong_numbers: int = 0
    stopped_without_loss: int = 0
    answered_after: int = 0
    reused: int = 0


async def prove_losses(times: int, seed: str) -> ProofOutcome:
    """Promote it so often."""
    chance, tally = random.Random(seed), _LossTally()
    with failover.open_place() as place:
        async with pair.run_pair(
            place, ephemeral=True, synchronous=False, backoff=failover.AT_ONCE
        ) as both:
            await speakers.prepare_database(both.url)
            for _ in range(times):
                async with asyncio.timeout(_LIMIT_S):
                    await both.wait_until_in_step()
                words = SpokenWords()
                async with speakers.talking_nodes(both.url, words) as nodes:
                    await _lose_the_newest(both, words, chance)
                    await _check_nodes(both, nodes, tally)
    return ProofOutcome(
        {
            "promotions of a standby that was held back": times,
            "nodes that lost what they acknowledged": tally.lost,
            "nodes that lost nothing": tally.kept,
        },
        {
            "losses undetected": tally.undetected,
            "stops with wrong numbers": tally.wrong_numbers,
            "stops without a loss": tally.stopped_without_loss,
            "answers after a loss": tally.answered_after,
            "lost numbers given again": tally.reused,
        },
    )


async def _lose_the_newest(both: EmbeddedPair, words: SpokenWords, chance: random.Random) -> None:
    async with asyncio.timeout(_LIMIT_S):
        await words.wait_for_answer(time.monotonic())
        await asyncio.sleep(chance.uniform(0, LONGEST_HELD_S))
        (sender,) = await server_query.ask_server(both.primary.server, _SENDER)
        os.kill(int(sender), signal.SIGSTOP)
        await words.wait_for_answer(time.monotonic())
        await asyncio.sleep(chance.uniform(0, LONGEST_HELD_S))
        led = both.record.failovers
        os.kill(both.primary.pid, signal.SIGKILL)
        while both.record.failovers == led or both.deciding.locked():  # noqa: ASYNC110 - the pair decides
            await asyncio.sleep(0.0005)


async def _check_nodes(both: EmbeddedPair, nodes: list[TalkingNode], tally: _LossTally) -> None:
    """Compare what each node does with what is there."""
    promised = [node.fence.acknowledged for node in nodes]
    database = settings.DatabaseSettings.from_url(both.url)
    for node, newest in zip(nodes, promised, strict=True):
        assert newest is not None
        async with pool.open(database, "prove") as connections:
            shown = await connections.value(_LEAF, node.writer.node, newest.number)
        if shown == newest.hash:
            tally.kept += 1
            tally.stopped_without_loss += node.fence.broken.is_set()
            continue
        tally.lost += 1
        try:
            async with asyncio.timeout(_NOTICE_S):
                await node.fence.broken.wait()
        except TimeoutError:
            tally.undetected += 1
            continue
        said = str(node.fence.lost)
        expected = f"leaf {newest.number}, which {node.writer.node} acknowledged"
        tally.wrong_numbers += not (
            isinstance(node.fence.lost, errors.AcknowledgedLost) and expected in said
        )
        tally.answered_after += node.fence.acknowledged != newest
        async with pool.open(database, "prove") as connections:
            tally.reused += await connections.value(_LEAF, node.writer.node, newest.number) is not None


_LEAF = "SELECT hash FROM leaves WHERE node_id = $1 AND number = $2"
