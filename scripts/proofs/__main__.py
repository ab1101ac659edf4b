"""`scripts/prove NAME [--times N] [--seed TEXT]`: break things, print a table, fail if a promise broke."""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import sys
from collections.abc import Awaitable, Callable

import structlog

from ccn.cli.output import printing
from scripts.proofs import failover, losses, node_failover, restored
from scripts.proofs.outcome import ProofOutcome

PROOFS: dict[str, tuple[Callable[[int, str], Awaitable[ProofOutcome]], int]] = {
    "failover": (failover.prove_failovers, 50),
    "failover-nodes": (node_failover.prove_node_failovers, 10),
    "losses": (losses.prove_losses, 20),
    "restored": (restored.prove_restored, 20),
}
"""The proofs, and how often each is tried by default."""


def main() -> int:
    """Run the named proof, or all."""
    parser = argparse.ArgumentParser(prog="scripts/prove", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which of {', '.join(PROOFS)}; all if none is named")
    parser.add_argument("--times", type=int, default=0, help="how often each is tried")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="what the random moments follow from")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in PROOFS]
    if unknown:
        parser.error(f"{', '.join(unknown)} is none of {', '.join(PROOFS)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    kept = True
    for name in given.names or PROOFS:
        prove, times = PROOFS[name]
        outcome = asyncio.run(_run(prove, given.times or times, given.seed))
        printing.say(outcome.table(f"{name}, seed {given.seed}"))
        kept = kept and outcome.kept
    return 0 if kept else 1


async def _run(prove: Callable[[int, str], Awaitable[ProofOutcome]], times: int, seed: str) -> ProofOutcome:
    return await prove(times, seed)


if __name__ == "__main__":
    sys.exit(main())
