"""What must hold after every storm, read from the database, the nodes' logs and their disks.

The blocks are decided again by the slow audit of the simulation, which shares no rule with the code under
test. That no node voted twice cannot be seen in the database, which keeps only what was committed: each
node logs a vote when it is on its disk and before it is signed, and the logs reach across its lives.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ccn.cli import verify
from ccn.core.chain import block, checkpoint
from ccn.core.chain.block import Block
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.rounds.ballot import Proposal
from ccn.node.signing import memory, signing_key
from ccn.store.connection.pool import Record
from ccn.store.rounds import blocks as stored_blocks
from ccn.store.rounds import export, ledger
from tests.cluster.chaos.cluster import Cluster
from tests.cluster.chaos.party import DEADLINE_S, until
from tests.cluster.simulation.checks import audit
from tests.cluster.simulation.checks.audit import Past, Sealed

ALARMS = frozenset(
    {"this node stops signing", "a part of this node died", "a part of this node ended by itself"}
)


class Auditor:
    """Goes on where it stopped, so that it can be asked after every storm."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._past: Past | None = None
        self._places: list[tuple[NodeId, int]] = []

    async def check(self) -> None:
        """Let the cluster come to rest, and find nothing wrong with it."""
        leaves = await self._rest()
        wrong = [
            *await self._chain(),
            *await self._rows(leaves),
            *await self._promises(),
            *self._words(),
            *self._disks(),
        ]
        assert not wrong, "\n".join(wrong)
        await self._verified()
        for node in self._cluster.nodes.values():
            node.be_quiet(quiet=False)

    async def _rest(self) -> Sequence[Record]:
        """Nobody is told anything new, everybody votes, and every leaf there was by then is sealed.

        A node may still write: that an instance was found out of character is a leaf of its own.
        """
        for node in self._cluster.nodes.values():
            node.be_quiet(quiet=True)
        await self._cluster.whole()
        leaves = await self._cluster.pool.rows(_LEAVES)

        async def sealed() -> bool:
            return not await ledger.count_waiting(self._cluster.pool)

        await until(sealed, "every leaf is sealed")
        return leaves

    async def _chain(self) -> list[str]:
        """Each block decided again, on top of the one before it."""
        pool, wrong = self._cluster.pool, list[str]()
        if self._past is None:
            founded = await stored_blocks.load_tip(pool, 0)
            assert founded is not None
            genesis = block.genesis_tip(founded.origin, founded.rules)
            self._past = Past(0, genesis.hash, 0, 0, (), {}, genesis.rules)
        heights = [row["height"] for row in await pool.rows(_HEIGHTS, self._past.height)]
        if heights != list(range(self._past.height + 1, self._past.height + 1 + len(heights))):
            wrong.append(f"the heights are {heights}")
        for height in heights:
            shown = await stored_blocks.load_block(pool, height)
            assert shown is not None
            reports = tuple(await stored_blocks.load_reports(pool, height))
            proposal = Proposal(shown.header, reports, shown.next_rules)
            sealed = Sealed(proposal, Block(shown.header, shown.leaves, (), shown.next_rules), shown.votes)
            said = [*audit.wrong(sealed, self._past, signing_key.check_signature)]
            if not audit.certified(shown, self._past.rules, signing_key.check_signature):
                said.append("no quorum voted for it")
            bodies = [row["body"] for row in await pool.rows(_RESULTS, height)]
            if hashlib.sha256(b"ccn/result/v1\n" + b"\n".join(bodies)).digest() != shown.header.result:
                said.append("its results are not those it names")
            voters = self._past.rules
            for span in shown.header.spans:
                self._places += [(span.node, number) for number in range(span.first, span.last + 1)]
            self._past = self._past.after(sealed)
            said += await self._checkpoint(voters)
            wrong += [f"block {height}: {sentence}" for sentence in said]
        return wrong

    async def _checkpoint(self, voters: Rules) -> list[str]:
        """The checkpoint of the block just read: of this tree, and signed by those who may."""
        assert self._past is not None
        note = await ledger.load_head(self._cluster.pool, len(self._past.leaves))
        if note is None:
            return ["it has no checkpoint"]
        origin, size, root = note.text.splitlines()
        if (int(size), base64.b64decode(root)) != (
            len(self._past.leaves),
            audit.slow_root(self._past.leaves),
        ):
            return ["its checkpoint is of another tree"]
        keys_of = [checkpoint.cosigner_key(origin, each.node, each.key) for each in voters.validators]
        signed = checkpoint.find_cosigners(note, keys_of, signing_key.check_signature)
        return [] if len(signed) == len(note.signatures) else ["a stranger cosigned it"]

    async def _rows(self, leaves: Sequence[Record]) -> list[str]:
        """Terms in the order of the log, and every leaf sealed once and as its body says."""
        pool, wrong = self._cluster.pool, list[str]()
        terms = [
            row["term"] for row in await pool.rows("SELECT term FROM consensus_log ORDER BY log_index")
        ]
        if terms != sorted(terms):
            wrong.append("an older term wrote after a newer one")
        wrong += [f"round {row['data']} failed after it committed" for row in await pool.rows(_BOTH)]
        twice = [place for place, times in Counter(self._places).items() if times > 1]
        if twice:
            wrong.append(f"sealed twice: {twice}")
        sealed = set(self._places)
        validators = set(self._cluster.nodes)
        wrong += [
            f"leaf {row['number']} of {row['node_id']} is not sealed"
            for row in leaves
            if row["node_id"] in validators and (row["node_id"], row["number"]) not in sealed
        ]
        wrong += [
            f"leaf {row['number']} of {row['node_id']} is not its body's"
            for row in leaves
            if hashlib.sha256(b"\x00" + row["body"]).digest() != row["hash"]
        ]
        return wrong

    async def _promises(self) -> list[str]:
        """Every message that was acknowledged is there, with its content and a leaf that was sealed."""
        kept = {
            (str(row["conversation_id"]), row["seq"]): row
            for row in await self._cluster.pool.rows(_MESSAGES)
        }
        wrong, sealed = list[str](), set(self._places)
        for node in self._cluster.nodes.values():
            for line in (node.folder / "acknowledged").read_text().splitlines():
                conversation, seq, digest = line.split()
                row = kept.get((conversation, int(seq)))
                if row is None or hashlib.sha256(row["content"].encode()).hexdigest() != digest:
                    wrong.append(f"message {seq} of {conversation} was acknowledged and is lost")
                elif (row["leaf_node"], row["leaf_number"]) not in sealed:
                    wrong.append(f"message {seq} of {conversation} is not sealed")
        return wrong

    def _words(self) -> Iterator[str]:
        """What the nodes said, in all their lives: no two votes or proposals in one height and term."""
        proposed = defaultdict[tuple[int, int], set[str]](set)
        for node in self._cluster.nodes.values():
            voted, last = dict[tuple[int, int], str](), (0, 0)
            for line in _lines(node.log):
                place = line.get("height", 0), line.get("term", 0)
                if line["event"] == "vote saved":
                    if voted.setdefault(place, line["block"]) != line["block"]:
                        yield f"{node.name} votes twice in {place}"
                    if place < last:
                        yield f"{node.name} votes in {place} after {last}"
                    last = place
                elif line["event"] == "block proposed":
                    proposed[place].add(line["block"])
                elif line["event"] in ALARMS:
                    yield f"{node.name}: {line}"
        yield from (f"two proposals in {place}" for place, blocks in proposed.items() if len(blocks) > 1)

    def _disks(self) -> Iterator[str]:
        """What each node has on its disk is what it did last."""
        assert self._past is not None
        for node in self._cluster.nodes.values():
            votes = [line for line in _lines(node.log) if line["event"] == "vote saved"]
            file = Path(node.folder.parent, "nodes", node.name, "signer.state")
            state = memory.read_state(file)
            assert state is not None
            place = state.voted_height, state.voted_term
            if place < (votes[-1]["height"], votes[-1]["term"]):
                yield f"{node.name} forgot its vote in {votes[-1]}"

    async def _verified(self) -> None:
        """An outsider finds nothing wrong; the newest block may lack its cosignatures for a moment.

        Exporting begins when it has them: on a busy machine another try takes as long as many rounds.
        """
        file = self._cluster.folder / "record"

        async def cosigned() -> bool:
            newest = await ledger.load_head(self._cluster.pool)
            return newest is not None and len(newest.signatures) >= self._cluster.quorum

        async def verdict() -> subprocess.CompletedProcess[bytes] | None:
            await until(cosigned, "a quorum cosigns a block")
            with file.open("wb") as opened:
                await export.export_record(self._cluster.pool, opened)
            command = [sys.executable, "-P", verify.__file__, str(file)]
            done = await asyncio.to_thread(
                lambda: subprocess.run(command, capture_output=True, check=False)
            )
            return None if done.returncode == verify.UNSIGNED else done

        done = await until(verdict, "a quorum cosigns the newest block", 4 * DEADLINE_S)
        assert done.returncode == verify.VERIFIED, (done.stdout + done.stderr).decode()


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    """The log's lines that are whole."""
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("{") and line.endswith("}"):
            yield json.loads(line)


_LEAVES = "SELECT node_id, number, hash, body FROM leaves"
_HEIGHTS = "SELECT height FROM verification_chain WHERE height > $1 ORDER BY height"
_BOTH = """
    SELECT l.data FROM consensus_log l
    JOIN consensus_log c ON c.command_type = 'round' AND c.committed AND c.log_index < l.log_index
      AND c.data ->> 'height' = l.data ->> 'height'
    WHERE l.command_type = 'round' AND NOT l.committed
"""
_RESULTS = "SELECT body FROM block_results WHERE height = $1 ORDER BY character_id"
_MESSAGES = "SELECT conversation_id, seq, content, leaf_node, leaf_number FROM messages"
