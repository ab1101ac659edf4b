"""The record as each program exports it, and what the verifier of each says of it.

While the first protocol is in force, each verifies what either exports. Once a higher one is, the verifier
of the release before cannot read the rules, and must not call the record verified.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from scripts.upgrades.proof import Proof
from scripts.upgrades.releases import Release

VERIFIED = (0, 10)
"""The second says that the newest blocks wait for cosignatures, as they do while nodes run."""
REFUSED = (30, 40)
"""A contradiction, or nothing that can be read."""
_PATIENCE_S = 300


async def check_both_ways(proof: Proof) -> None:
    """Each program exports, and each verifies both."""
    for exporter in (proof.this, proof.previous):
        if (file := await _export(proof, exporter)) is None:
            proof.broken.append(f"{exporter.name} exports nothing")
            continue
        for judge in (proof.this, proof.previous):
            await _judge(proof, judge, exporter, file, VERIFIED)


async def check_at_the_end(proof: Proof) -> None:
    """This program verifies what it exports; the one before does too, unless it cannot read the rules."""
    file = await _export(proof, proof.this)
    if file is None:
        proof.broken.append(f"{proof.this.name} exports nothing")
        return
    await _judge(proof, proof.this, proof.this, file, VERIFIED)
    status = await proof.cluster.status(proof.cluster.nodes[0])
    is_raised = (status.get("protocol") or 1) > 1
    await _judge(proof, proof.previous, proof.this, file, REFUSED if is_raised else VERIFIED)


async def _export(proof: Proof, release: Release) -> Path | None:
    file = proof.folder / f"{release.tree.name}-{len(proof.verdicts)}.record"
    code, _, said = await proof.try_command(release, "record", "export", str(file))
    if code:
        proof.say(f"{release.name} exports nothing: {said.strip()[-160:]}")
        return None
    return file


async def _judge(
    proof: Proof, judge: Release, exporter: Release, file: Path, expected: tuple[int, ...]
) -> None:
    code, said = await asyncio.to_thread(_verify_file, judge, file)
    what = f"{judge.name} on {exporter.name}"
    proof.verdicts[what if what not in proof.verdicts else f"{what}, at the end"] = code
    proof.say(f"ccn-verify of {judge.name} on the export of {exporter.name}: {code}, {said[-200:]}")
    if code not in expected:
        proof.broken.append(f"ccn-verify of {what} says {code}")


def _verify_file(judge: Release, file: Path) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "ccn.cli.verify", str(file)],
        env=judge.environment({}),
        capture_output=True,
        check=False,
        text=True,
        timeout=_PATIENCE_S,
    )
    lines = (ended.stdout + ended.stderr).strip().splitlines()
    return ended.returncode, lines[-1] if lines else ""
