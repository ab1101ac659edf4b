"""Kills the primary of a synchronous pair at random moments under load: nothing acknowledged is lost.

The time to the next acknowledged write is taken beside that of the promotion itself, which is its floor.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ccn.embedded.postgres.pair import pair
from ccn.embedded.postgres.pair.members import EmbeddedPair
from ccn.embedded.supervision import Backoff
from scripts.proofs import speakers
from scripts.proofs.outcome import ProofOutcome
from scripts.proofs.speakers import SpokenWords

LONGEST_PAUSE_S = 0.5
AT_ONCE = Backoff(first_s=0.01, cap_s=0.1)
_LIMIT_S = 60.0


async def prove_failovers(times: int, seed: str) -> ProofOutcome:
    """Kill it so often."""
    chance, words = random.Random(seed), SpokenWords()
    written_s, promoted_s = list[float](), list[float]()
    with open_place() as place:
        async with pair.run_pair(place, ephemeral=True, backoff=AT_ONCE) as both:
            await speakers.prepare_database(both.url)
            async with speakers.talking_nodes(both.url, words) as nodes:
                for _ in range(times):
                    written_s.append(await _kill_primary(both, words, chance))
                    promoted_s.append(both.promoted_s)
                stopped = sum(node.fence.broken.is_set() for node in nodes)
            lost, doubled = await speakers.count_wrong(both.url, words)
            missed = times - both.record.failovers
    return ProofOutcome(
        {
            "primaries killed": times,
            "acknowledged": len(words.places),
            "outcome unknown, said again": words.unknown,
            "refused, said again": words.refused,
            "promotion, p50 / max": describe_times(promoted_s),
            "next acknowledged write, p50 / max": describe_times(written_s),
        },
        {
            "acknowledged and lost": lost,
            "doubled": doubled,
            "nodes that stopped": stopped,
            "kills without a promotion": missed,
        },
    )


@contextmanager
def open_place() -> Iterator[Path]:
    """A folder that the account of the servers can reach."""
    with tempfile.TemporaryDirectory(prefix="ccn-prove-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


async def _kill_primary(both: EmbeddedPair, words: SpokenWords, chance: random.Random) -> float:
    """Wait for a random moment, kill it, and return how long nobody was told that something is durable."""
    async with asyncio.timeout(_LIMIT_S):
        await both.wait_until_in_step()
        await words.wait_for_answer(time.monotonic())
        await asyncio.sleep(chance.uniform(0, LONGEST_PAUSE_S))
        led, began = both.record.failovers, time.monotonic()
        os.kill(both.primary.pid, signal.SIGKILL)
        while both.record.failovers == led or both.deciding.locked():  # noqa: ASYNC110 - the pair decides
            await asyncio.sleep(0.0005)
        # An answer of the dead one may still have been under way.
        await words.wait_for_answer(time.monotonic() - 0.0005)
        return time.monotonic() - began


def describe_times(each_s: list[float]) -> str:
    """Say the median and the longest."""
    return f"{statistics.median(each_s) * 1000:.0f} ms / {max(each_s) * 1000:.0f} ms"
