"""`scripts/prove-upgrade`: nodes go from the release before to this one and back while people talk.

After each exchange the node has to cosign a block. At the end every message that was acknowledged has to be
there once, and the record has to verify. The last line is JSON. Exit code 0 if all of that holds, 1 if not,
3 if this clone does not have the release before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.upgrades import exports, load, proof, releases, stages
from scripts.upgrades.load import Kept
from scripts.upgrades.nodes import NotShownError, last_line
from scripts.upgrades.proof import Proof
from scripts.upgrades.stages import Stage

NO_HISTORY = 3
_LONGEST_GAP_S = 60.0
"""Rounds have gone on if no two blocks lie further apart, however busy the machine is."""


def main(arguments: Sequence[str]) -> int:
    """Show it, and say what was seen."""
    parser = argparse.ArgumentParser(prog="scripts/prove-upgrade", description=__doc__)
    parser.add_argument("--from", dest="commit", default="", help="another release before this one")
    parser.add_argument("--talkers", type=int, default=6)
    parser.add_argument("--nodes", type=int, default=3, choices=(1, 3), help="one has nobody to hold up")
    parser.add_argument("--short", action="store_true", help="one node there and back, and no more")
    asked = parser.parse_args(arguments)
    commit = releases.find_previous(asked.commit)
    if not commit:
        sys.stderr.write("left out: this clone does not have the release before this one in its history\n")
        return NO_HISTORY
    try:
        return asyncio.run(
            _prove(commit, asked.nodes, asked.talkers, stages.SHORT if asked.short else stages.LONG)
        )
    except NotShownError as missing:
        sys.stderr.write(f"not shown: {missing}\n")
        return 1


async def _prove(commit: str, size: int, talkers: int, wanted: Mapping[str, Stage]) -> int:
    with tempfile.TemporaryDirectory(prefix="ccn-upgrade-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # noqa: ASYNC240 - the server may run as another user
        async with proof.open_proof(commit, folder, size) as opened:
            try:
                await proof.start_previous(opened, talkers)
                took_s = {name: await _run_stage(stage, opened) for name, stage in wanted.items()}
                return await _judge(opened, took_s)
            except NotShownError:
                for node in opened.cluster.nodes:
                    opened.say(f"{node.name} said last: {last_line(node)}")
                raise


async def _run_stage(stage: Stage, opened: Proof) -> int:
    """How many seconds it took."""
    began = time.monotonic()
    await stage(opened)
    return round(time.monotonic() - began)


async def _judge(opened: Proof, took_s: Mapping[str, int]) -> int:
    await opened.talkers.stop()
    cluster = opened.cluster
    await cluster.wait_for_cosignatures(cluster.nodes)
    await exports.check_at_the_end(opened)
    kept = await load.count_kept(cluster.database, opened.talkers)
    blocks, longest_s, failed = [await cluster.value(sql) for sql in (_BLOCKS, _LONGEST, _FAILED)]
    _note_losses(opened, kept, longest_s)
    for what in opened.broken:
        opened.say(f"BROKEN: {what}")
    figures = {
        "from": opened.previous.name,
        "schema_files": [releases.count_files(each.tree) for each in (opened.previous, opened.this)],
        "nodes_exchanged": opened.exchanges,
        **load.describe(opened.talkers, kept),
        "blocks": blocks,
        "longest_between_blocks_s": round(longest_s, 1),
        "failed_rounds": failed,
        "exit_codes_of_verifiers": opened.verdicts,
        "stages_s": took_s,
        "took_s": round(time.monotonic() - opened.began),
        "holds": not opened.broken,
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    return 1 if opened.broken else 0


def _note_losses(opened: Proof, kept: Kept, longest_s: float) -> None:
    if kept.lost or kept.doubled or kept.unanswered:
        opened.broken.append("messages or replies were lost or doubled")
    if not opened.talkers.answered:
        opened.broken.append("nobody was answered")
    if opened.cluster.size > 1 and longest_s > _LONGEST_GAP_S:
        opened.broken.append(f"for {longest_s:.0f} s no block was sealed")


_BLOCKS = "SELECT max(height) FROM verification_chain"
_LONGEST = """
    SELECT coalesce(max(extract(epoch FROM gap)), 0)::float FROM (
        SELECT sealed_at - lag(sealed_at) OVER (ORDER BY height) AS gap
        FROM verification_chain WHERE height > 0
    ) gaps
"""
_FAILED = "SELECT count(*) FROM consensus_log WHERE command_type = 'round' AND NOT committed"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
